"""Peak memory and time of one forward and backward pass over a long sequence: shared, tiled, recomputed or not.

Each line is measured in processes of its own. Memory is what a process holds at most beyond weights and gradients.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import socket
import time
from collections.abc import Sequence
from multiprocessing import Queue
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as multiprocessing
from transformers import LlamaConfig, LlamaForCausalLM

from codellama_train.console import print_table
from codellama_train.distributed import barrier, gathered, start_processes
from codellama_train.loss import LossHead, TrainingModel
from codellama_train.sequence_parallel import share_sequences
from codellama_train.tiled_mlp import run_in_tiles

MEGABYTE = 1 << 20
SHORT = 64  # tokens of the pass that comes first, so that weights have their gradients


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every combination and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--intermediate", type=int, default=2_752)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--tile", type=int, default=1_024)
    options = parser.parse_args(arguments)
    rows = []
    for devices, recomputed, tiled in itertools.product((1, 2), (False, True), (False, True)):
        memory, seconds = measure(options, devices, recomputed=recomputed, tiled=tiled)
        answers = ["yes" if each else "no" for each in (recomputed, tiled)]
        rows.append((devices, *answers, f"{memory / MEGABYTE:,.0f}", f"{seconds:.1f}"))
    columns = ["devices", "layers recomputed", "tiles", "peak MB per device", "processor seconds per device"]
    print_table(f"{options.tokens:,} tokens", columns, rows)


def measure(options: argparse.Namespace, devices: int, *, recomputed: bool, tiled: bool) -> tuple[int, float]:
    """Give the memory and the processor time of the process that takes most."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    answers: Queue[Any] = multiprocessing.get_context("spawn").SimpleQueue()
    multiprocessing.start_processes(run, (devices, port, options, recomputed, tiled, answers), devices)
    memory, seconds = zip(*answers.get(), strict=True)
    return max(memory), max(seconds)


def run(
    rank: int, devices: int, port: int, options: argparse.Namespace, recomputed: bool, tiled: bool, answers: Any
) -> None:
    """Run a short pass and a long one, and report what the long one took."""
    shared = {"WORLD_SIZE": devices, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "DS_ACCELERATOR": "cpu"}
    os.environ.update({name: str(value) for name, value in ({"RANK": rank, "LOCAL_RANK": rank} | shared).items()})
    torch.set_num_threads(1)
    processes = start_processes()
    config = LlamaConfig(
        vocab_size=2_048,
        hidden_size=options.hidden,
        intermediate_size=options.intermediate,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 64,
        attn_implementation="sdpa",
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).bfloat16().train()
    model.lm_head = LossHead(model.lm_head)
    share = share_sequences(model, devices, processes)
    if recomputed:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if tiled:
        run_in_tiles(model, tile_tokens=options.tile)
    trained = TrainingModel(model, share)
    for length in (SHORT, options.tokens):
        input_ids = torch.randint(2_048, (1, length))[:, share.columns(length)]
        barrier()
        before, started = resident_bytes(), time.process_time()
        loss, _ = trained(input_ids, input_ids)
        (loss / length).backward()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    everywhere = gathered((memory, time.process_time() - started))
    if processes.is_first:
        answers.put(everywhere)


def resident_bytes() -> int:
    """Give the memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
