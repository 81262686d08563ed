"""Memory of taking up a base at ZeRO 3, and of writing a finished model: ours against what one would do without it."""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

# Names of what is measured, as the child processes are told them.
OURS, WHOLE, TRANSFORMERS = "ours", "the whole base in each process, then cut up", "transformers' ZeRO 3 loading"
SAMPLE_SECONDS = 0.002

RECIPE = """
[model]
init_from = "{base}"
rope_theta = 10_000.0
[data]
sequence_length = 512
seed = 1
[data.sources.code]
shards = "{base}/shards"
share = 1.0
[batch]
tokens_per_step = 1_024
total_tokens = 10_240
[optimizer]
peak_learning_rate = 1e-4
final_learning_rate_fraction = 0.1
warmup_steps = 1
betas = [0.9, 0.95]
epsilon = 1e-8
weight_decay = 0.1
gradient_clipping = 1.0
[machine]
zero_stage = 3
sequences_per_device = 1
activation_checkpointing = false
log_every_steps = 1
save_every_steps = 5
keep_checkpoints = 1
"""


def main() -> None:
    """Print a table of peaks, each relative to the bytes of the model in bfloat16."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", type=Path, required=True, help="a folder with Llama 2's tokenizer")
    parser.add_argument("--hidden-size", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rank-does", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank_does:
        measure_in_this_process(options.rank_does[0], Path(options.rank_does[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        model_bytes = write_base(Path(folder), options)
        print(f"a base of {model_bytes / 1e6:,.0f} MB in bfloat16, {options.processes} processes\n")
        print("| | most private memory of a process, MB | in models |\n|---|---|---|")
        for what in (OURS, WHOLE, TRANSFORMERS):
            peak = max(run_processes(what, Path(folder), options.processes))
            print(f"| {what} | {peak / 1e6:,.0f} | {peak / model_bytes:.2f} |", flush=True)
        peak = max(run_processes("export", Path(folder), 1))
        print(f"| writing a model folder from trained weights | {peak / 1e6:,.0f} | {peak / model_bytes:.2f} |")


def write_base(folder: Path, options: argparse.Namespace) -> int:
    """Write a random Llama with the tokenizer into the folder, in several files; give its bytes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from codellama_train.tokens.open_tokenizer import open_tokenizer
    from codellama_train.tokens.shards import ShardWriter, TokenizedDocument

    tokenizer = open_tokenizer(options.tokenizer)
    config = LlamaConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=options.hidden_size,
        intermediate_size=options.hidden_size * 11 // 4,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden_size // 64,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="100MB")
    tokenizer.save(folder)
    with ShardWriter(
        folder / "shards",
        kind="documents",
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocabulary_size=tokenizer.vocabulary_size,
        facts={"source": "code"},
    ) as writer:
        writer.add(TokenizedDocument(bytes(16), tokenizer.encode("x = 1"), is_exact=True))
    (folder / "recipe.toml").write_text(RECIPE.format(base=folder), encoding="utf-8")
    return sum(parameter.numel() for parameter in model.parameters()) * 2


def run_processes(what: str, folder: Path, num_processes: int) -> list[int]:
    """Start the processes together and give the peak of each, in bytes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(num_processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, __file__, "--tokenizer", str(folder), "--rank-does", what, str(folder)]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(num_processes)
    ]
    printed = [process.communicate()[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), what
    return [int(json.loads(text.splitlines()[-1])) for text in printed]


def measure_in_this_process(what: str, folder: Path) -> None:
    """Do one thing as one of the processes and print the most private memory that it took."""
    from codellama_train.distributed import barrier, start_processes
    from codellama_train.engine import place_model
    from codellama_train.export import write_model_folder
    from codellama_train.model import build_model, load_tokenizer
    from codellama_train.recipe.loading import load
    from codellama_train.recipe.training import TrainingRecipe

    recipe = load(TrainingRecipe, folder / "recipe.toml")
    processes, tokenizer = start_processes(), load_tokenizer(recipe.model)
    kept: list[object] = []
    if what == OURS:
        peak = peak_of(lambda: kept.append(place_model(recipe, tokenizer, processes)))
    elif what == "export":
        import torch

        model = build_model(recipe, tokenizer, dtype=torch.bfloat16)
        weights = {f"causal.{name}": weight.detach() for name, weight in model.named_parameters()}
        del model
        with tempfile.TemporaryDirectory() as target:
            peak = peak_of(lambda: write_model_folder(Path(target), recipe, weights=weights, tokenizer=tokenizer))
    else:
        peak = peak_of(lambda: kept.append(load_as_others_do(what, folder)))
    barrier()
    print(json.dumps(peak))


def load_as_others_do(what: str, folder: Path) -> object:
    """Load the base and cut it up in the ways that need no code of ours."""
    import deepspeed
    import torch
    from transformers import LlamaForCausalLM
    from transformers.integrations import HfDeepSpeedConfig

    settings = {
        "train_micro_batch_size_per_gpu": 1,
        "bf16": {"enabled": True},
        "zero_optimization": {"stage": 3},
    }
    if what == WHOLE:
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
        model.bfloat16()
        deepspeed.zero.Init(module=model, config_dict_or_path=settings, dtype=torch.bfloat16)
        return model
    config = HfDeepSpeedConfig(settings)  # as long as it lives, from_pretrained cuts up what it loads
    return config, LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)


def peak_of(action: Callable[[], object]) -> int:
    """Give the most private memory that this process takes during the action, beyond what it had, in bytes."""
    before, most, done = private_bytes(), 0, threading.Event()

    def sample() -> None:
        nonlocal most
        while not done.wait(SAMPLE_SECONDS):
            most = max(most, private_bytes())

    watcher = threading.Thread(target=sample)
    watcher.start()
    action()
    done.set()
    watcher.join()
    return max(most, private_bytes()) - before


def private_bytes() -> int:
    """Read this process's resident memory without pages of files, which the system takes back when it needs them."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
