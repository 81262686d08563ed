"""The loader: steps per second with no worker, a thread and two processes; restoring; bytes of state; memory.

All in tokens of whole steps of all lanes, labels, sources and positions included, as a training loop takes them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from corpus import (
    EVERY_SUFFIX,
    add_corpus_arguments,
    describe,
    describe_machine,
    functions_of,
    read_files,
    write_shards,
)
from restoring import World, measure_restoring
from rounds import in_turn
from sparse_shards import disk_bytes, measure_footprint, write_sparse_shards

from codellama_train.console import print_table, run_program
from codellama_train.tokens.batches import LaneBatches
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.shards import ShardSet

BEST_FIT_DOCUMENTS = 256
TARGET_RESTORE_SECONDS, TARGET_RESIDENT_MB = 0.1, 200
PARTS = ("throughput", "restore", "memory")
spawning = multiprocessing.get_context("spawn")


def main(arguments: Sequence[str]) -> None:
    """Measure and print the parts asked for."""
    options = parse(arguments)
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if set(options.parts) & {"throughput", "restore"}:
            folders = write_sources(place, options)
        if "throughput" in options.parts:
            show_throughput(world_of(folders, options, lanes=options.lanes, length=options.sequence_length), options)
        if "restore" in options.parts:
            show_restoring(folders, options)
        if "memory" in options.parts:
            show_memory(place / "sparse", options)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_corpus_arguments(parser)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--sequence-length", type=int, default=4_096)
    parser.add_argument("--lanes", type=int, default=16, help="sequences in a step, to measure throughput")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=100_000, help="steps after which a lane is restored")
    parser.add_argument("--restored-lanes", type=int, default=1_024)
    parser.add_argument("--rank-lanes", type=int, default=8, help="lanes that one rank reads, all of them to that step")
    parser.add_argument("--gigabytes", type=float, default=100.0, help="size of the shards to open, nearly all holes")
    parser.add_argument("--rows", type=int, default=1_000, help="rows to read from them")
    return parser.parse_args(arguments)


def write_sources(place: Path, options: argparse.Namespace) -> tuple[Path, ...]:
    """Write three sources: two halves of the files, and the functions in them."""
    tokenizer = open_tokenizer(options.tokenizer)
    texts = read_files(options.files, EVERY_SUFFIX, megabytes=options.megabytes)
    for name, part in (("first", texts[::2]), ("second", texts[1::2]), ("functions", functions_of(texts))):
        print(f"{name}: {describe(write_shards(place / name, tokenizer, part))}")
    return tuple(place / name for name in ("first", "second", "functions"))


def world_of(
    folders: tuple[Path, ...], options: argparse.Namespace, *, lanes: int, length: int, best_fit: int | None = None
) -> World:
    """Describe a mixture of the sources."""
    return World(folders, open_tokenizer(options.tokenizer), lanes, length, best_fit)


def show_throughput(world: World, options: argparse.Namespace) -> None:
    """Measure steps built in line, by the thread that comes with the loader, and by two processes as two ranks."""
    tokens_per_step = world.num_lanes * world.sequence_length
    num_steps = max(1, round(4_000_000 / tokens_per_step))
    in_line, threaded = (LaneBatches(world.open(), rank=0, num_ranks=1) for _ in range(2))
    states = in_line.states

    def build() -> None:
        nonlocal states
        states = in_line._build(states).states

    def repeated(step: Callable[[], object]) -> Callable[[], int]:
        def run() -> int:
            for _ in range(num_steps):
                step()
            return num_steps * tokens_per_step

        return run

    with two_ranks(world, options.tokenizer) as pipes:
        contestants = {
            "no worker": repeated(build),
            "one thread": repeated(threaded.next_step),
            "two processes": lambda: read_together(pipes, num_steps) * tokens_per_step,
        }
        measured = in_turn(contestants, rounds=options.rounds)
    # The best rounds, not the median: two processes show what they can only while both cores are free.
    rates = {name: max(one.result / one.seconds for one in rounds) for name, rounds in measured.items()}
    waits = {"no worker": waiting_seconds(build), "one thread": waiting_seconds(threaded.next_step)}
    print_table(
        f"loader, steps of {world.num_lanes} x {world.sequence_length:,} tokens, best of {options.rounds} rounds",
        ("workers", "tokens/s", "to no worker", "ms a step of 50 ms waits"),
        [
            (name, round(rate), f"{rate / rates['no worker']:.2f}", f"{waits[name] * 1e3:.2f}" if name in waits else "")
            for name, rate in rates.items()
        ],
    )


def waiting_seconds(step: Callable[[], object], *, num_steps: int = 20) -> float:
    """Give how long a training loop waits for its next step when a device works 50 ms at each."""
    waited = 0.0
    for _ in range(num_steps):
        time.sleep(0.05)
        started = time.perf_counter()
        step()
        waited += time.perf_counter() - started
    return waited / num_steps


@contextmanager
def two_ranks(world: World, tokenizer: Path) -> Iterator[list[Connection]]:
    """Start two processes that hold half the lanes each and read as many steps as they are told."""
    pairs = [spawning.Pipe() for _ in range(2)]
    described = (world.folders, tokenizer, world.num_lanes, world.sequence_length)
    ranks = [
        spawning.Process(target=serve_rank, args=(theirs, rank, *described)) for rank, (_, theirs) in enumerate(pairs)
    ]
    for rank in ranks:
        rank.start()
    pipes = [ours for ours, _ in pairs]
    try:
        yield pipes
    finally:
        for pipe, rank in zip(pipes, ranks, strict=True):
            pipe.send(0)
            rank.join()


def serve_rank(
    pipe: Connection, rank: int, folders: tuple[Path, ...], tokenizer: Path, num_lanes: int, length: int
) -> None:
    """Read steps on demand until told to read none."""
    world = World(folders, open_tokenizer(tokenizer), num_lanes, length)
    batches = LaneBatches(world.open(), rank=rank, num_ranks=2)
    while num_steps := pipe.recv():
        for _ in range(num_steps):
            batches.next_step()
        pipe.send(num_steps)


def read_together(pipes: Sequence[Connection], num_steps: int) -> int:
    """Let both ranks read that many steps."""
    for pipe in pipes:
        pipe.send(num_steps)
    return max(int(pipe.recv()) for pipe in pipes)


def show_restoring(folders: tuple[Path, ...], options: argparse.Namespace) -> None:
    """Measure going on from a checkpoint's states beside reading to the place again."""
    rows = []
    for length, steps, window in (
        (128, options.steps, None),
        (128, options.steps, BEST_FIT_DOCUMENTS),
        (4_096, options.steps // 50, None),
        (4_096, options.steps // 50, BEST_FIT_DOCUMENTS),
    ):
        world = world_of(folders, options, lanes=options.restored_lanes, length=length, best_fit=window)
        found = measure_restoring(world, num_steps=steps, lanes_per_rank=options.rank_lanes)
        seconds = (found.first_row, found.opening_and_first_row, found.first_step)
        again = round(found.reading * options.steps / steps)
        rows.append(
            (
                *(f"best fit of {window}" if window else "plain", length, steps),
                *(f"{one * 1e3:.1f}" for one in seconds),
                *(again, found.state_bytes, "yes" if found.first_row < TARGET_RESTORE_SECONDS else "no"),
            )
        )
    print(
        f"next table: ms from the JSON of {options.restored_lanes:,} lanes' states to the first lane's next row, with"
    )
    print(f"the opening of the shards, and to the first step of a rank of {options.rank_lanes} lanes; beside it the s")
    print(
        f"that reading and dropping {options.steps:,} steps of this rank takes (in proportion, where fewer were read)"
    )
    columns = ("packing", "length", "step", "row, ms", "opened, ms", "rank, ms", "again, s", "bytes", "row < 100 ms")
    print_table("going on from a saved place", columns, rows)


def show_memory(folder: Path, options: argparse.Namespace) -> None:
    """Open shards of that size in a process of its own."""
    write_sparse_shards(folder, open_tokenizer(options.tokenizer), gigabytes=options.gigabytes)
    shards, (seeming, on_disk) = ShardSet(folder), disk_bytes(folder)
    with spawning.Pool(1) as pool:
        found = pool.apply(measure_footprint, (folder, options.tokenizer, options.rows))
    rows = []
    for when, then in (("shards open, one row read", found.opened), (f"{options.rows:,} rows read", found.read)):
        own, files = (after - before for after, before in zip(then, found.before, strict=True))
        total = (own + files) / 1e6
        met = "yes" if total < TARGET_RESIDENT_MB else "no"
        rows.append((when, f"{own / 1e6:.1f}", f"{files / 1e6:.1f}", f"{total:.1f}", met))
    print_table(
        f"memory with {seeming / 1e9:.0f} GB of shards ({shards.num_documents:,} documents; {on_disk / 1e6:,.0f} MB "
        f"on disk), opened in {found.opening_seconds * 1e3:.0f} ms",
        ("growth when", "MB of its own", "MB of mapped files", "MB resident", f"< {TARGET_RESIDENT_MB} MB"),
        rows,
    )


if __name__ == "__main__":
    run_program(main)
