"""Start real training runs, as a person does: DeepSpeed's launcher, two processes, a small recipe."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from codellama_train.tokens.dialogue import Message, encode_dialogue
from codellama_train.tokens.shards import ShardWriter, TokenizedDocument
from codellama_train.tokens.tokenizer import Tokenizer

PROJECT = Path(__file__).resolve().parents[2]

RECIPE = """
runs = "{runs}"
[model]
tokenizer = "{data}/tokenizer"
rope_theta = 10_000.0
[model.architecture]
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 2
num_key_value_heads = 2
initializer_range = 0.1
[data]
sequence_length = 64
seed = 3
[data.sources.code]
shards = "{data}/shards/code/train"
share = 0.8
[data.sources.language]
shards = "{data}/shards/language/train"
share = 0.2
[data.infilling]
rate = 0.9
[batch]
tokens_per_step = 256
total_tokens = 3_072
[optimizer]
peak_learning_rate = 1e-2
final_learning_rate_fraction = 0.1
warmup_steps = 2
betas = [0.9, 0.95]
epsilon = 1e-5
weight_decay = 0.1
gradient_clipping = 1.0
[machine]
zero_stage = 2
sequences_per_device = 1
activation_checkpointing = false
log_every_steps = 3
save_every_steps = 4
keep_checkpoints = 2
"""


def write_recipe(path: Path, *, runs: Path, data: Path) -> Path:
    """Write the small recipe; its run folder is `runs` / the file's stem."""
    path.write_text(RECIPE.format(runs=runs, data=data))
    return path


def write_mixed_recipe(folder: Path, *, data: Path, tokenizer: Tokenizer) -> Path:
    """Write the small recipe with documents apart, and dialogues, of which little is predicted; it logs every step."""
    with ShardWriter(
        folder / "dialogues",
        kind="dialogues",
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocabulary_size=tokenizer.vocabulary_size,
        facts={"source": "dialogues"},
    ) as writer:
        for number in range(40):
            answer = f"value = {number}\n"
            ids, predicted = encode_dialogue(tokenizer, [Message("user", "Set it."), Message("assistant", answer)])
            writer.add(TokenizedDocument(number.to_bytes(16), ids, is_exact=True, predicted=predicted))
    path = write_recipe(folder / "mixed.toml", runs=folder / "runs", data=data)
    source = f'[data.sources.dialogues]\nshards = "{folder}/dialogues"\nshare = 0.3\n[data.infilling]'
    text = path.read_text().replace("share = 0.8", "share = 0.5").replace("[data.infilling]", source)
    text = text.replace("log_every_steps = 3", "log_every_steps = 1")  # steps differ in how many tokens they predict
    path.write_text(text.replace("seed = 3\n", "seed = 3\ndocument_mask = true\n"))
    return path


def start_training(
    recipe: Path,
    overrides: Sequence[str] = (),
    *,
    processes: int = 2,
    program: str = "scripts/train.py",
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start the launcher in a process group of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_accelerators", str(processes)]
    return subprocess.Popen(
        [*launcher, "--master_port", str(port), program, str(recipe), *overrides],
        cwd=PROJECT,
        env={**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def train(recipe: Path, overrides: Sequence[str] = (), *, processes: int = 2, exit_code: int = 0) -> str:
    """Train to the end and give what was printed."""
    process = start_training(recipe, overrides, processes=processes)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == exit_code, output[-4000:]
    return output


def kill_when(process: subprocess.Popen[str], condition: Callable[[], bool]) -> str:
    """Kill the launcher and all it started, at once, as soon as the condition holds; give what was printed."""
    while not condition():
        assert process.poll() is None, process.communicate()[0][-4000:]
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
    os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[0]  # returns once nobody holds the pipe any more, so when all of the group are gone


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Read a run's metrics, without what depends on the clock."""
    volatile = ("_per_second", "_per_device", "mfu", "seconds", "data_wait_fraction", "peak_memory", "slowest_rank")
    return [
        {key: value for key, value in record.items() if not any(part in key for part in volatile)}
        for record in all_metrics(run_dir)
    ]


def all_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Read a run's metrics."""
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def relative_distance(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """Give the distance of two sets of weights, as a share of the second's length."""
    squares = [
        (float((ours[name].float() - weight).norm() ** 2), float(weight.norm() ** 2)) for name, weight in theirs.items()
    ]
    return math.sqrt(sum(square for square, _ in squares) / sum(square for _, square in squares))
