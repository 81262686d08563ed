"""Encoding: megabytes of source text per second of one thread, as the ids that shards store.

Every contestant's ids are compared with the oracle's for all the text first. Each round then reads files that no round
has read before, since the fast encoder remembers words.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import sentencepiece
import tokenizers
from corpus import EVERY_SUFFIX, add_corpus_arguments, describe_machine, read_files
from rounds import Round, in_turn, median_rate

from codellama_train.console import print_table, run_program
from codellama_train.tokens.fast_encoder import LIBRARY, FastTokenizer, with_fast_encoder
from codellama_train.tokens.hugging_face import write_fast_tokenizer
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import dtype_for
from codellama_train.tokens.tokenizer import IdArray, Tokenizer

Encode = Callable[[str], IdArray]
OURS, OURS_ALONE = f"ours with {LIBRARY}", "ours"


def main(arguments: Sequence[str]) -> None:
    """Compare ids, measure, and print."""
    options = parse(arguments)
    tokenizer = open_tokenizer(options.tokenizer)
    texts = read_files(options.files, EVERY_SUFFIX, megabytes=options.megabytes)
    started = time.perf_counter()
    contestants = open_contestants(tokenizer, with_fast_encoder(tokenizer))
    seconds_to_start = time.perf_counter() - started
    require_equal_ids(contestants, texts)
    print(describe_machine("tokenizers", *([LIBRARY] if OURS in contestants else [])))
    print(
        f"{len(texts):,} files, {sum(map(size_of, texts)) / 1e6:.1f} MB, equal ids from {', '.join(contestants)}; "
        f"all opened and the fast encoder checked in {seconds_to_start:.1f} s"
    )
    contestants = open_contestants(tokenizer, with_fast_encoder(tokenizer))  # anew, with no word known
    measured = measure(contestants, texts, rounds=options.rounds)
    show("MB/s, median of the rounds", {name: median_rate(rounds, megabytes) for name, rounds in measured.items()})
    show("MB/s, best round", {name: best_rate(rounds) for name, rounds in measured.items()})


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_corpus_arguments(parser)
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args(arguments)


def open_contestants(tokenizer: Tokenizer, fast: Tokenizer) -> dict[str, Encode]:
    """Give ours, with the fast encoder too if it could stand in, and the peers."""
    contestants = {OURS_ALONE: as_stored(tokenizer.encode, tokenizer)} | peers(tokenizer)
    if isinstance(fast, FastTokenizer):
        contestants[OURS] = as_stored(fast.encode, tokenizer)
    return contestants


def peers(tokenizer: Tokenizer) -> dict[str, Encode]:
    """Give the libraries by themselves: the base's own model, and the exported `tokenizer.json`."""
    with tempfile.TemporaryDirectory() as folder:
        write_fast_tokenizer(tokenizer, Path(folder))
        exported = tokenizers.Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    exported.encode_special_tokens = True  # names of control tokens in a text stay text
    found = {"tokenizers": as_stored(lambda text: exported.encode(text, add_special_tokens=False).ids, tokenizer)}
    if isinstance(tokenizer, SentencePieceTokenizer):
        processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model_bytes)
        found["SentencePiece"] = as_stored(processor.encode, tokenizer)
    return found


def as_stored(encode: Callable[[str], Sequence[int]], tokenizer: Tokenizer) -> Encode:
    """Give ids in the type that shards have."""
    dtype = dtype_for(tokenizer.vocabulary_size)
    return lambda text: np.asarray(encode(text), dtype=dtype)


def require_equal_ids(contestants: dict[str, Encode], texts: Sequence[str]) -> None:
    """Demand the oracle's ids from everyone."""
    for text in texts:
        expected = contestants[OURS_ALONE](text)
        for name, encode in contestants.items():
            assert np.array_equal(encode(text), expected), (name, text[:200])


def measure(contestants: dict[str, Encode], texts: Sequence[str], *, rounds: int) -> dict[str, list[Round[int]]]:
    """Let each contestant encode one portion of the texts a round, the same ones in the same round."""
    portions = [texts[number :: rounds + 1] for number in range(rounds + 1)]

    def reader(encode: Encode) -> Callable[[], int]:
        coming = iter(portions)

        def read() -> int:
            portion = next(coming)
            for text in portion:
                encode(text)
            return sum(map(size_of, portion))

        return read

    return in_turn({name: reader(encode) for name, encode in contestants.items()}, rounds=rounds)


def size_of(text: str) -> int:
    """Count the bytes of a text in UTF-8."""
    return len(text.encode())


def megabytes(num_bytes: int) -> float:
    """Give bytes in millions."""
    return num_bytes / 1e6


def best_rate(rounds: Sequence[Round[int]]) -> float:
    """Give the best round's rate, by processor time."""
    return max(megabytes(one.result) / one.cpu_seconds for one in rounds)


def show(title: str, rates: dict[str, float]) -> None:
    """Print every peer beside ours: with the fast encoder if it is there, and without."""
    rows = [
        (peer, rates[peer], ours, rates[ours], f"{rates[ours] / rates[peer]:.2f}")
        for ours in (OURS, OURS_ALONE)
        for peer in ("SentencePiece", "tokenizers")
        if ours in rates and peer in rates
    ]
    print_table(title, ("peer", "peer's", "ours", "ours'", "ratio"), rows)


if __name__ == "__main__":
    run_program(main)
