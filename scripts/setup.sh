#!/usr/bin/env bash
# Make .venv and install the package with pinned versions; a second run finds it done. Sourced by quickstart.sh and test.sh,
# which run their parts through `stage` and end with `print_stages`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

began=$(date +%s)
stages=()

stage() { # name, command …: run it, and remember how long it took
    local name=$1 started
    shift
    started=$(date +%s)
    printf '\n== %s\n   %s\n' "$name" "$*"
    "$@"
    stages+=("$(printf '%-32s %5d s' "$name" $(($(date +%s) - started)))")
}

print_stages() {
    printf '\nDone in %d minutes. Seconds per stage:\n\n' $((($(date +%s) - began) / 60))
    printf '  %s\n' "${stages[@]}"
}

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "error: Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2
    exit 2
fi

wanted=$(cat pyproject.toml constraints.txt scripts/setup.sh | cksum)
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    echo "installing into .venv: about 1.5 GB, two to five minutes"
    "$python" -m venv .venv
    quiet=--quiet
    [ -t 1 ] && quiet=--progress-bar=on
    # torch first: what follows would otherwise choose a build of it.
    for packages in "setuptools wheel" "torch" "--editable .[test,fast]"; do
        # shellcheck disable=SC2086
        .venv/bin/python -m pip install $quiet --disable-pip-version-check --constraint constraints.txt $packages
    done
    echo "$wanted" >.venv/installed
fi
. .venv/bin/activate
