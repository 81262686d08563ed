"""Infilling and packing: tokens per second of one process, ours beside the Megatron manner on the same encoder.

Three tables: real files packed into sequences, functions packed into sequences, and each file alone, all infilled.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sentencepiece
from corpus import (
    EVERY_SUFFIX,
    add_corpus_arguments,
    describe,
    describe_machine,
    functions_of,
    read_files,
    write_shards,
)
from megatron_manner import MegatronManner, PlainTokenizer
from rounds import Round, in_turn, median_rate

from codellama_train.console import UserError, print_table, run_program
from codellama_train.tokens.fast_encoder import FastTokenizer, definitions_of, encoder_of, with_fast_encoder
from codellama_train.tokens.infilling import drawn_mode, infilled_ids, uniform_cuts
from codellama_train.tokens.lanes import Mixture
from codellama_train.tokens.mixture import MixtureSource
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.randomness import RandomKey
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet
from codellama_train.tokens.tokenizer import DocumentText, IdArray, Tokenizer, WholeText

NUM_LANES, SEED, ROWS_COMPARED = 4, 7, 8
PEER, WHOLE, OURS = "Megatron manner", "ours, whole text", "ours"
COLUMNS = ("manner", "encoder", "tokens/s", "by the clock", "infilled", "infilled tokens/s", "to peer")


class WholeDecoding:
    """A tokenizer that opens documents by decoding all of them, and encodes their parts from the beginning."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def document(self, ids: IdArray) -> DocumentText:
        """Open the ids of an exact document for infilling."""
        return WholeText(self._tokenizer, self._tokenizer.decode(ids.tolist()))


class Encoder(NamedTuple):
    """One encoder as we use it, and bare."""

    name: str
    ours: Tokenizer
    bare: PlainTokenizer


class Read(NamedTuple):
    """Tokens given, and those of them in infilled documents."""

    tokens: int
    infilled: int


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    options = parse(arguments)
    encoders = open_encoders(options.tokenizer)
    print(describe_machine(*(["gigatoken"] if len(encoders) > 1 else [])))
    texts = read_files(options.files, EVERY_SUFFIX, megabytes=options.megabytes)
    with tempfile.TemporaryDirectory() as folder:
        files = write_shards(Path(folder) / "files", encoders[-1].ours, texts)
        functions = write_shards(Path(folder) / "functions", encoders[-1].ours, functions_of(texts))
        require_equal_rows(encoders, files, options)
        for name, shards, length in (
            *(("files", files, length) for length in options.sequence_length),
            ("functions", functions, options.sequence_length[0]),
        ):
            show(f"{name} in sequences of {length:,} ({describe(shards)})", packing(encoders, shards, length, options))
        show(f"each file alone, all infilled ({describe(files)})", infilling_alone(encoders, files, options))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_corpus_arguments(parser)
    parser.add_argument("--sequence-length", type=int, nargs="+", default=[4_096, 16_384])
    parser.add_argument("--rate", type=float, default=0.9, help="chance that a document is infilled")
    parser.add_argument("--tokens", type=int, default=400_000, help="tokens of a contestant in a round")
    parser.add_argument("--rounds", type=int, default=9)
    return parser.parse_args(arguments)


def open_encoders(path: Path) -> list[Encoder]:
    """Open the tokenizer with SentencePiece, and with the fast encoder if it can stand in."""
    tokenizer = open_tokenizer(path)
    if not isinstance(tokenizer, SentencePieceTokenizer):
        raise UserError(f"{path} is not a SentencePiece model, for which the other manner is written; name another")
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model_bytes)

    def bare(encode: Callable[[str], list[int]]) -> PlainTokenizer:
        return PlainTokenizer(encode, processor.decode, tokenizer.sentinels, tokenizer.eos_id)

    encoders = [Encoder("SentencePiece", tokenizer, bare(processor.encode))]
    fast = with_fast_encoder(tokenizer)
    if isinstance(fast, FastTokenizer):
        encoders.append(Encoder("gigatoken", fast, bare(encoder_of(definitions_of(tokenizer).plain))))
    return encoders


def require_equal_rows(encoders: Sequence[Encoder], shards: ShardSet, options: argparse.Namespace) -> None:
    """Refuse to time two of our ways that do not give the same ids."""
    length = options.sequence_length[-1]
    tokenizers = [tokenizer for encoder in encoders for tokenizer in (encoder.ours, WholeDecoding(encoder.ours))]
    mixtures = [mixture_of(tokenizer, shards, length, options.rate) for tokenizer in tokenizers]
    for lane in range(NUM_LANES):
        states = [mixture.initial_state(lane) for mixture in mixtures]
        for _ in range(ROWS_COMPARED):
            drawn = [mixture.next_row(lane, state) for mixture, state in zip(mixtures, states, strict=True)]
            states = [state for _, state in drawn]
            assert all(np.array_equal(row.input_ids, drawn[0][0].input_ids) for row, _ in drawn), lane


def packing(
    encoders: Sequence[Encoder], shards: ShardSet, length: int, options: argparse.Namespace
) -> dict[tuple[str, str], list[Round[Read]]]:
    """Measure every manner with every encoder over sequences of a length."""
    num_rows = max(1, round(options.tokens / length))

    def peer(tokenizer: PlainTokenizer) -> Callable[[], Read]:
        source = MegatronManner(tokenizer, shards, sequence_length=length, rate=options.rate, seed=SEED)

        def read() -> Read:
            windows = [source.next_window() for _ in range(num_rows)]
            return Read(num_rows * length, sum(window.num_infilled for window in windows))

        return read

    def ours(tokenizer: Tokenizer) -> Callable[[], Read]:
        rows = endless_rows(mixture_of(tokenizer, shards, length, options.rate))
        return lambda: Read(num_rows * length, sum(next(rows) for _ in range(num_rows)))

    contestants: dict[tuple[str, str], Callable[[], Read]] = {}
    for encoder in encoders:
        contestants[PEER, encoder.name] = peer(encoder.bare)
        contestants[WHOLE, encoder.name] = ours(WholeDecoding(encoder.ours))
        contestants[OURS, encoder.name] = ours(encoder.ours)
    return in_turn(contestants, rounds=options.rounds)


def mixture_of(tokenizer: Tokenizer, shards: ShardSet, length: int, rate: float) -> Mixture:
    """Give a few lanes over one source."""
    source = MixtureSource("files", 1.0, shards, rate)
    return Mixture([source], tokenizer=tokenizer, sequence_length=length, num_lanes=NUM_LANES, seed=SEED)


def endless_rows(mixture: Mixture) -> Iterator[int]:
    """Read the lanes in turn; gives each row's infilled tokens."""
    states = [mixture.initial_state(lane) for lane in range(mixture.num_lanes)]
    for lane in itertools.cycle(range(mixture.num_lanes)):
        row, states[lane] = mixture.next_row(lane, states[lane])
        yield sum(piece.stop - piece.start for piece in row.segments if piece.form in ("psm", "spm"))


def infilling_alone(
    encoders: Sequence[Encoder], shards: ShardSet, options: argparse.Namespace
) -> dict[tuple[str, str], list[Round[Read]]]:
    """Measure the transform itself on whole documents, however long, with nothing packed and nothing left in order."""

    def every_document(transform: Callable[[int, IdArray], object]) -> Callable[[], Read]:
        documents = itertools.cycle(range(shards.num_documents))

        def read() -> Read:
            tokens = 0
            for document in documents:
                ids = shards.ids(document)
                if len(ids) and shards.is_exact(document):
                    transform(document, ids)
                    tokens += len(ids)
                if tokens >= options.tokens:
                    break
            return Read(tokens, tokens)

        return read

    def peer(tokenizer: PlainTokenizer) -> Callable[[int, IdArray], object]:
        source = MegatronManner(tokenizer, shards, sequence_length=1, rate=1.0, seed=SEED)
        return lambda _, ids: source.infilled(ids)

    def ours(tokenizer: Tokenizer) -> Callable[[int, IdArray], object]:
        def transform(document: int, ids: IdArray) -> object:
            key = RandomKey(SEED, shards.document_id(document), 0)
            text = tokenizer.document(ids)
            return infilled_ids(tokenizer, text, uniform_cuts(key, text.num_characters), drawn_mode(key))

        return transform

    contestants: dict[tuple[str, str], Callable[[], Read]] = {}
    for encoder in encoders:
        contestants[PEER, encoder.name] = every_document(peer(encoder.bare))
        contestants[WHOLE, encoder.name] = every_document(ours(WholeDecoding(encoder.ours)))
        contestants[OURS, encoder.name] = every_document(ours(encoder.ours))
    return in_turn(contestants, rounds=options.rounds)


def show(title: str, measured: dict[tuple[str, str], list[Round[Read]]]) -> None:
    """Print a table: medians over the rounds, by processor time but where it says otherwise."""
    rates = {key: median_rate(rounds, lambda read: read.tokens) for key, rounds in measured.items()}
    rows = []
    for (manner, encoder), rounds in measured.items():
        share = sum(one.result.infilled for one in rounds) / sum(one.result.tokens for one in rounds)
        rate = rates[manner, encoder]
        rows.append(
            (
                *(manner, encoder, round(rate), round(median_rate(rounds, lambda read: read.tokens, by_clock=True))),
                *(f"{share:.1%}", round(rate * share), f"{rate / rates[PEER, encoder]:.2f}"),
            )
        )
    print_table(title, COLUMNS, rows)


if __name__ == "__main__":
    run_program(main)
