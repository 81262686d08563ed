"""Data preparation from source files to shards: megabytes per second and core, and where the time goes.

python benchmarks/data.py --cache FOLDER [--megabytes 220] [--rounds 3] [--tokenizer FOLDER]

Every round is the command a person types, in a process of its own and an empty run folder, once with one worker and
once with as many as there are processors; the two must leave the same bytes.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from code_corpus import code_corpus
from corpus import describe_machine

from codellama_train import artifacts
from codellama_train.console import print_table, run_program

PROJECT = Path(__file__).resolve().parent.parent
RECIPE = PROJECT / "benchmarks/data.toml"
STAGES = ("ingest", "tag", "filter", "deduplicate", "decontaminate", "split", "tokenizer", "shards")


class Run(NamedTuple):
    """One run of the whole line."""

    seconds: float
    cpu_seconds: float
    seconds_of: dict[str, float]
    num_bytes: int  # of text taken in
    files: dict[str, Any]  # what it left, by checksum


def main(arguments: Sequence[str]) -> None:
    """Run the whole line several times and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the downloaded packages")
    parser.add_argument("--megabytes", type=int, default=220, help="text to prepare (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--tokenizer", type=Path, help="a model folder or tokenizer.model; default: train one of 8,000")
    options = parser.parse_args(arguments)
    corpus = code_corpus(options.cache)
    workers = os.cpu_count() or 1
    runs: dict[int, list[Run]] = {1: [], workers: []}
    for number in range(options.rounds):
        for count in list(runs)[:: -1 if number % 2 else 1]:
            with tempfile.TemporaryDirectory(dir=options.cache) as scratch:
                runs[count].append(prepare(corpus, Path(scratch), options.megabytes, options.tokenizer, count))
    first = runs[1][0]
    assert all(run.files == first.files for some in runs.values() for run in some), "the runs left different bytes"
    print(describe_machine("daft", "pyarrow"))
    print_stages(runs[1])
    print_workers(runs)


def prepare(corpus: Path, folder: Path, megabytes: int, tokenizer: Path | None, workers: int) -> Run:
    """Run the command, and read what its manifests say."""
    keys = [f"runs={folder}", f"machine.workers={workers}", f"sources.code.paths=['{corpus}']"]
    keys += [f"sources.code.max_megabytes={megabytes}"]
    if tokenizer is not None:
        keys += [f"tokenizer={{ path = '{tokenizer.resolve()}' }}"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, str(PROJECT / "scripts/prepare_data.py"), str(RECIPE), *keys]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    run_dir = folder / RECIPE.stem
    manifests = {stage: artifacts.finished_manifest(run_dir / stage) for stage in STAGES}
    return Run(
        seconds,
        cpu_seconds,
        {stage: manifest["seconds"] for stage, manifest in manifests.items()},
        manifests["ingest"]["sources"]["code"]["bytes_out"],
        {stage: manifest["files"] for stage, manifest in manifests.items() if stage != "shards"},
    )


def print_stages(runs: Sequence[Run]) -> None:
    """Print the share of each stage with one worker."""
    megabytes = runs[0].num_bytes / 1e6
    total = median(run.seconds for run in runs)
    rows: list[list[str | float]] = []
    for stage in STAGES:
        seconds = median(run.seconds_of[stage] for run in runs)
        rows.append([stage, round(seconds, 1), f"{seconds / total:.0%}", round(megabytes / max(seconds, 0.01), 1)])
    rows.append(["all", round(total, 1), "100%", round(megabytes / total, 1)])
    print_table(f"{megabytes:,.0f} MB of text, one worker", ["stage", "seconds", "share", "MB/s"], rows)


def print_workers(runs: dict[int, list[Run]]) -> None:
    """Print what more workers give."""
    alone = median(run.seconds for run in runs[1])
    rows = [
        [count, round(seconds, 1), round(alone / seconds, 2), round(some[0].num_bytes / 1e6 / cpu_seconds, 1)]
        for count, some in sorted(runs.items())
        for seconds, cpu_seconds in [(median(r.seconds for r in some), median(r.cpu_seconds for r in some))]
    ]
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    print_table("Workers", ["workers", "seconds", "times as fast", "MB per CPU second"], rows)
    print(f"The largest process of all these runs took {largest:,.0f} MB.")


if __name__ == "__main__":
    run_program(main)
