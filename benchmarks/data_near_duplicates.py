"""Near-duplicate search beside its peers: speed of signatures, the whole stage, memory as data grows, accuracy.

python benchmarks/data_near_duplicates.py signatures --cache FOLDER
python benchmarks/data_near_duplicates.py stage --cache FOLDER [--bands 25 --rows 10] [--workers 2] [--rounds 3]
python benchmarks/data_near_duplicates.py memory --cache FOLDER [--documents 1000000 2000000 4000000]
python benchmarks/data_near_duplicates.py accuracy --cache FOLDER

The corpus is that of code_corpus.py. The peers, datatrove and text-dedup, are installed into environments of their own
in the cache folder. Ratios count, not figures: contestants run in turn, every other round in reverse.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import pyarrow as pa
from bigcode_manner import bands_of, permutations_of
from corpus import describe_machine
from measured_processes import Measured, measured
from near_accuracy import Accuracy, accuracy, write_sample
from near_runs import PERMUTATIONS, corpus_texts, write_for_peers, write_made_up_run, write_run
from rounds import in_turn, median_rate

from codellama_train.console import UserError, print_table, run_program
from codellama_train.recipe.data_duplicates import Deduplication
from data_prep.near_duplicates.minhash import band_hashes, signatures
from data_prep.near_duplicates.word_buffers import word_buffers

HERE = Path(__file__).resolve().parent
DATATROVE = (
    "datatrove==0.10.1",
    "xxhash==3.5.0",
    "pyarrow",
    "orjson",
    "regex",
    "nltk",
    "tokenizers",
    "fasteners",
    "spacy",
)
TEXT_DEDUP = ("text-dedup==0.4.1",)
PEERS = ("datatrove with plain words", "datatrove", "text-dedup")
BATCH_BYTES = 4_000_000  # a part's texts
# Those of the shipped recipes, and for 0.7 BigCode's, which has no verification and must be precise by itself.
SHAPES = ((0.7, 42, 6), (0.7, 25, 10), (0.85, 25, 10))


def main(arguments: Sequence[str]) -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(MEASUREMENTS))
    parser.add_argument("--cache", type=Path, required=True, help="folder for packages and environments")
    parser.add_argument(
        "--megabytes", type=float, help="of source files; default: 12 for signatures, 200 for the stage"
    )
    parser.add_argument("--bands", type=int, default=25, help="of the stage beside its peers; default: %(default)s")
    parser.add_argument(
        "--rows", type=int, default=10, help="of a band; default: %(default)s, BigCode's optimum for 0.7"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="default: all")
    parser.add_argument("--documents", type=int, nargs="+", default=[1_000_000, 2_000_000, 4_000_000])
    parser.add_argument("--memory-megabytes", type=int, default=2_000, help="the budget; default: %(default)s")
    parser.add_argument("--seeds", type=int, default=5, help="of the planted copies; default: %(default)s")
    parser.add_argument("--python312", default="python3.12", help="text-dedup needs Python 3.12 or newer")
    options = parser.parse_args(arguments)
    print(describe_machine("daft", "pyarrow"))
    MEASUREMENTS[options.what](options)


def measure_signatures(options: argparse.Namespace) -> None:
    """Compare how much text a second of one processor turns into bands, from raw text."""
    rules = Deduplication(ngram_words=5, permutations=PERMUTATIONS, bands=42, rows_per_band=6, similarity=0.7)
    texts = [text for _, text in corpus_texts(options.cache, options.megabytes or 12)]
    num_bytes = sum(len(text.encode()) for text in texts)
    batches = batches_of(texts)
    permutations = permutations_of(PERMUTATIONS)
    ranges = [(start, start + rules.rows_per_band) for start in range(0, 252, rules.rows_per_band)]

    def ours() -> int:
        for batch in batches:
            band_hashes(signatures(word_buffers(batch), rules), rules)
        return num_bytes

    def bigcode() -> int:
        for text in texts:
            bands_of(text, permutations, ranges)
        return num_bytes

    rounds = in_turn({"BigCode": bigcode, "ours": ours}, rounds=options.rounds)
    rates = {name: median_rate(own, lambda size: size / 1e6) for name, own in rounds.items()}
    for name in PEERS[:2]:
        if name in options.peers:
            rates[f"{name}, stage 1"] = datatrove_signatures(options, texts, name)
    rows = [[name, round(rate, 2), f"{rates['ours'] / rate:.1f}"] for name, rate in rates.items()]
    title = f"Signatures of {num_bytes / 1e6:.0f} MB, {PERMUTATIONS} permutations (datatrove {42 * 6})"
    print_table(title, ["contestant", "MB per CPU second", "ours is so many times as fast"], rows)


def batches_of(texts: Sequence[str]) -> list[pa.Array]:
    """Cut texts into batches of a part's size."""
    batches: list[list[str]] = [[]]
    size = 0
    for text in texts:
        if size > BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(text)
        size += len(text.encode())
    return [pa.array(batch) for batch in batches]


def datatrove_signatures(options: argparse.Namespace, texts: Sequence[str], name: str) -> float:
    """Give datatrove's megabytes per second of one processor: the median of the rounds."""
    python = environment(options.cache / "datatrove", sys.executable, DATATROVE)
    rates = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=options.cache) as scratch:
            folder = Path(scratch)
            write_run(folder / "data", ((str(number), text) for number, text in enumerate(texts)))
            write_for_peers(folder / "peers", folder / "data", 1)
            command = datatrove_command(name, python, folder, bands=42, rows=6, workers=1)
            facts = json.loads(measured([*command, "--signatures-only"]).output.splitlines()[-1])
            rates.append(facts["bytes"] / 1e6 / facts["cpu_seconds"])
    return median(rates)


def datatrove_command(name: str, python: Path, folder: Path, *, bands: int, rows: int, workers: int) -> list[str]:
    """Give the command of datatrove's stages, with its own idea of words or with plain ones."""
    sizes = ["--bands", str(bands), "--rows", str(rows), "--workers", str(workers)]
    places = ["--input", str(folder / "peers"), "--output", str(folder / "datatrove")]
    words = ["--plain-words"] if name == PEERS[0] else []
    return [str(python), str(HERE / "near_datatrove.py"), *places, *sizes, *words]


def environment(folder: Path, python: str, packages: Sequence[str]) -> Path:
    """Make a peer's environment if it is not there yet; gives its Python."""
    marker = folder / "installed"
    if not marker.exists() or marker.read_text() != " ".join(packages):
        sys.stderr.write(f"installing {packages[0]}\n")
        try:
            subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
            subprocess.run([str(folder / "bin/pip"), "install", "--quiet", *packages], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise UserError(f"{packages[0]} cannot be installed ({error}); leave it out with --peers") from error
        marker.write_text(" ".join(packages))
    return folder / "bin/python"


def measure_stage(options: argparse.Namespace) -> None:
    """Compare the whole search, from Parquet to what is kept."""
    with tempfile.TemporaryDirectory(dir=options.cache) as scratch:
        folder = Path(scratch)
        size = write_run(folder / "data", corpus_texts(options.cache, options.megabytes or 200))
        write_for_peers(folder / "peers", folder / "data", 4 * options.workers)
        contestants = stage_contestants(options, folder)
        runs: dict[str, list[Measured]] = {name: [] for name in contestants}
        for number in range(options.rounds):
            for name in list(contestants)[:: -1 if number % 2 else 1]:
                runs[name].append(contestants[name]())
                sys.stderr.write(f"round {number + 1}, {name}: {runs[name][-1].seconds:.0f} s\n")
    first = next(name for name in runs if name.startswith("ours"))
    own = [median_of(runs[first], place) for place in range(1, 5)]
    rows = []
    for name, some in runs.items():
        seconds, cpu_seconds, peak, private = (median_of(some, place) for place in range(1, 5))
        ratios = [f"{value / mine:.1f}" for value, mine in zip((seconds, cpu_seconds, peak), own, strict=False)]
        rows.append([name, round(seconds, 1), round(cpu_seconds, 1), round(peak / 1e6), round(private / 1e6), *ratios])
    columns = [
        "contestant",
        "seconds",
        "CPU seconds",
        "peak MB",
        "private MB",
        "seconds to ours",
        "CPU",
        "peak",
    ]
    print_table(f"The whole search over {size / 1e6:.0f} MB, {options.workers} workers", columns, rows)


def median_of(runs: Sequence[Measured], place: int) -> float:
    """Give the median of one of the figures."""
    return median(float(run[place]) for run in runs)


def stage_contestants(options: argparse.Namespace, folder: Path) -> dict[str, Callable[[], Measured]]:
    """Give the commands to run; each begins anew."""

    def ours(bands: int, rows: int) -> Callable[[], Measured]:
        return lambda: deduplicated(folder / "data", options, bands=bands, rows=rows)

    shape = f"{options.bands} x {options.rows}"
    contestants = {f"ours, {shape}": ours(options.bands, options.rows), "ours, 42 x 6": ours(42, 6)}
    for name in [name for name in PEERS[:2] if name in options.peers]:
        python = environment(options.cache / "datatrove", sys.executable, DATATROVE)
        sizes = {"bands": options.bands, "rows": options.rows, "workers": options.workers}
        command = datatrove_command(name, python, folder, **sizes)
        contestants[f"{name}, {shape}"] = partial(afresh, folder / "datatrove", command)
    if "text-dedup" in options.peers:
        own = environment(options.cache / "text-dedup", options.python312, TEXT_DEDUP)
        contestants[f"text-dedup, {shape}"] = lambda: text_dedup(own, folder, options)
    return contestants


def deduplicated(run_dir: Path, options: argparse.Namespace, *, bands: int, rows: int) -> Measured:
    """Do our stage in a process of its own."""
    keys = {"run": run_dir, "workers": options.workers, "memory-megabytes": options.memory_megabytes}
    words = [f"--{name}={value}" for name, value in {**keys, "bands": bands, "rows": rows}.items()]
    command = [sys.executable, str(HERE / "near_runs.py"), *words]
    return afresh(run_dir / "deduplicate", command)


def afresh(folder: Path, command: Sequence[str]) -> Measured:
    """Run a command whose output folder is not there."""
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    return measured(command, more={"OMP_NUM_THREADS": "1"})


def text_dedup(python: Path, folder: Path, options: argparse.Namespace) -> Measured:
    """Do text-dedup's search, which reads its settings from a file in its working folder."""
    own = folder / "text-dedup"
    subprocess.run(["rm", "-rf", str(own)], check=True)
    own.mkdir()
    settings = f"""
        [input]
        input_type = "local_files"
        read_arguments = {{ path = "parquet", data_files = "{folder}/peers/*.parquet", split = "train" }}
        [algorithm]
        algorithm_name = "minhash"
        text_column = "text"
        num_perm = {PERMUTATIONS}
        ngram_size = 5
        threshold = 0.7
        bands = {options.bands}
        rows = {options.rows}
        num_proc = {options.workers}
        [output]
        output_dir = "{own}/kept"
        [debug]
    """
    (own / "config.toml").write_text(settings)
    more = {"HF_HOME": str(own / "cache"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    return measured([str(python), "-m", "text_dedup.minhash"], folder=own, more=more)


def measure_memory(options: argparse.Namespace) -> None:
    """Show time and memory as made-up documents become more."""
    rows = []
    for count in options.documents:
        with tempfile.TemporaryDirectory(dir=options.cache) as scratch:
            size = write_made_up_run(Path(scratch) / "data", count)
            run = deduplicated(Path(scratch) / "data", options, bands=42, rows=6)
        facts = json.loads(run.output.splitlines()[-1])
        rows.append(
            [
                *(count, round(size / 1e6), round(run.seconds), round(1e6 * run.cpu_seconds / count)),
                *(round(run.peak_bytes / 1e6), round(run.peak_private_bytes / 1e6)),
                *(facts["candidate_pairs"], facts["verified_pairs"]),
            ]
        )
    columns = ["documents", "MB", "seconds", "CPU µs each", "peak MB", "private MB", "candidates", "verified"]
    print_table(f"Budget {options.memory_megabytes:,} MB, {options.workers} workers", columns, rows)


def measure_accuracy(options: argparse.Namespace) -> None:
    """Compare verified pairs with the exact similarity of all pairs of 2,400 real and 600 planted documents."""
    found: dict[tuple[float, int, int], list[Accuracy]] = {shape: [] for shape in SHAPES}
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory(dir=options.cache) as scratch:
            run_dir, truth = write_sample(Path(scratch) / "data", options.cache, seed)
            for (similarity, bands, rows), some in found.items():
                some.append(accuracy(run_dir, truth, similarity=similarity, bands=bands, rows=rows))
    table = []
    for (similarity, bands, rows), some in found.items():
        precision, recall = [one.precision for one in some], [one.recall for one in some]
        true_pairs, candidates = [one.true_pairs for one in some], [one.candidates_per_true_pair for one in some]
        shares = [f"{median(values):.4f} ({min(values):.4f})" for values in (precision, recall)]
        table.append(
            [f"{similarity}", f"{bands} x {rows}", round(median(true_pairs)), *shares, f"{median(candidates):.1f}"]
        )
    columns = ["similarity", "bands", "true pairs", "precision (least)", "recall (least)", "candidates per true pair"]
    print_table(f"Accuracy against all pairs: medians of {options.seeds} seeds", columns, table)


MEASUREMENTS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "signatures": measure_signatures,
    "stage": measure_stage,
    "memory": measure_memory,
    "accuracy": measure_accuracy,
}


if __name__ == "__main__":
    run_program(main)
