#!/usr/bin/env bash
# The paper's recipe in miniature, from source files to a scored report, on this machine's processors:
#
#     bash scripts/quickstart.sh [--long] [DIRECTORY …]
#
# With directories it learns from the code in them; without, from the Python that is installed. It may be killed at any
# moment: run again, it continues where it was, and skips what is done. --long trains twenty times as much, for an hour or two.
set -euo pipefail

long=
directories=()
for argument in "$@"; do
    case $argument in
    --long) long=yes ;;
    -*) echo "error: unknown option $argument; usage: bash scripts/quickstart.sh [--long] [DIRECTORY …]" >&2; exit 2 ;;
    *)
        if [ ! -d "$argument" ]; then
            echo "error: $argument is not a directory" >&2
            exit 2
        fi
        directories+=("$(cd "$argument" && pwd)")
        ;;
    esac
done

. "$(dirname "$0")/setup.sh"

runs=runs${long:+/long}
data=()
if [ ${#directories[@]} -gt 0 ]; then
    runs=$runs/own-$(printf '%s\n' "${directories[@]}" | cksum | cut -d' ' -f1)
    data=("sources.code.paths=$(python -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "${directories[@]}")")
fi
processes=$(python -c 'import os; print(2 if (os.cpu_count() or 1) > 1 else 1)')
export DS_ACCELERATOR=cpu CUDA_VISIBLE_DEVICES='' TOKENIZERS_PARALLELISM=false DS_IGNORE_CUDA_DETECTION=1

cat <<PLAN

The line, with minutes on two processor cores${long:+ (--long: training takes twenty times these)}:

  install              2   into .venv
  prepare_data.py      1   documents, filters, duplicates, contamination, tokenizer, shards
  lineage.py --run         the stages, each after the one it starts from:
            base       2   a small language model, the stand-in for Llama 2
            code       1   … continued on code, with infilling
            long_context, instruct, python                      2   the specialisations
            code_without_infilling, code_from_scratch, lora     2   the comparisons
  evaluate.py          2   held-out loss, infilling, loss by position, key retrieval
  report.py            0   $runs/tiny/report.html

PLAN

stage "prepare data" python scripts/prepare_data.py recipes/data/tiny.toml "runs=$runs" ${data[@]+"${data[@]}"}

training=(recipes/tiny "runs=$runs" ${long:+"batch.total_tokens*=20"})
stage "train" python scripts/lineage.py "${training[@]}" --run --num-accelerators "$processes"

models=()
for recipe in recipes/tiny/*.toml; do
    [ "$recipe" = recipes/tiny/evaluation.toml ] || models+=("$runs/tiny/$(basename "$recipe" .toml)")
done
stage "evaluate" python scripts/evaluate.py recipes/tiny/evaluation.toml "${models[@]}" "runs=$runs"
stage "report" python scripts/report.py "$runs/tiny" --data "$runs/data/tiny"

print_stages
printf '\n'
python scripts/lineage.py "${training[@]}"
cat <<NEXT

Read $runs/tiny/report.html, then try
  . .venv/bin/activate
  python scripts/generate.py $runs/tiny/code/final "def area(width, height):"
NEXT
