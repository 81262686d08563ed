"""What the benchmarks read: real source files of this machine, and shards written from them."""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import platform
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from codellama_train.console import UserError
from codellama_train.tokens.exactness import cause_of_inexactness
from codellama_train.tokens.shards import ShardSet, ShardWriter, TokenizedDocument
from codellama_train.tokens.tokenizer import Tokenizer

MOST_FILE_BYTES = 1_000_000
LONGEST_LINE = 1_000  # files with longer lines are generated or minified
LANGUAGES = {
    "Python": (".py",),
    "C and C++": (".h", ".hpp", ".hh", ".c", ".cc", ".cpp", ".cu", ".cuh"),
    "JavaScript": (".js", ".mjs", ".cjs"),
    "Perl": (".pl", ".pm"),
}
EVERY_SUFFIX = tuple(suffix for suffixes in LANGUAGES.values() for suffix in suffixes)


def add_corpus_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is read."""
    parser.add_argument("--tokenizer", type=Path, required=True, help="a model folder or a tokenizer.model")
    parser.add_argument(
        "--files", type=Path, nargs="*", help="folders of source files (default: this Python's library and packages)"
    )
    parser.add_argument("--megabytes", type=float, default=24.0, help="how much text to read (default: %(default)s)")


def installed_folders() -> list[Path]:
    """Give the folders of the running Python's standard library and installed packages."""
    paths = sysconfig.get_paths()
    return [Path(paths["stdlib"]), Path(paths["purelib"])]


def read_files(folders: Sequence[Path] | None, suffixes: Sequence[str], *, megabytes: float) -> list[str]:
    """Read that much text of different files, in an order that mixes all folders; refuses to find nothing."""
    folders = folders or installed_folders()
    paths = sorted({path for folder in folders for path in files_below(folder, suffixes)}, key=scattered)
    texts: dict[str, None] = {}  # in order, each text once
    num_bytes = 0
    for path in paths:
        text = usable_text(path)
        if text and text not in texts:
            texts[text] = None
            num_bytes += len(text.encode())
        if num_bytes >= megabytes * 1e6:
            break
    if not texts:
        names = ", ".join(map(str, folders))
        raise UserError(f"there is no readable file ending in {' '.join(suffixes)} below {names}; name others: --files")
    return list(texts)


def files_below(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """Give the real path of every file with one of the endings."""
    for place, _, names in os.walk(folder):
        yield from ((Path(place) / name).resolve() for name in names if name.endswith(tuple(suffixes)))


def scattered(path: Path) -> bytes:
    """Give a key that sorts paths into an order that looks random and is the same each time."""
    return hashlib.sha256(str(path).encode()).digest()


def usable_text(path: Path) -> str | None:
    """Read a file; None if it is large, not UTF-8, or minified."""
    if not path.is_file() or path.stat().st_size > MOST_FILE_BYTES:
        return None
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return None
    return text if max(map(len, text.splitlines()), default=0) <= LONGEST_LINE else None


def functions_of(texts: Iterable[str]) -> list[str]:
    """Cut Python files into their functions, outermost ones and methods, each once."""
    found: dict[str, None] = {}
    for text in texts:
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
        lines = text.splitlines(keepends=True)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found["".join(lines[node.lineno - 1 : node.end_lineno])] = None
    return list(found)


def write_shards(folder: Path, tokenizer: Tokenizer, texts: Iterable[str]) -> ShardSet:
    """Tokenize texts into a shard set, as data preparation does."""
    with ShardWriter(
        folder,
        kind="documents",
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocabulary_size=tokenizer.vocabulary_size,
        facts={"source": folder.name},
    ) as writer:
        for text in texts:
            ids = tokenizer.encode(text)
            cause = cause_of_inexactness(tokenizer, text, ids)
            name = hashlib.sha256(text.encode()).digest()[:16]
            writer.add(TokenizedDocument(name, ids, is_exact=cause is None, inexact_cause=cause))
    return ShardSet(folder)


def lengths_of(shards: ShardSet) -> np.ndarray:
    """Give the tokens of each document."""
    return np.array([shards.length(document) for document in range(shards.num_documents)])


def describe(shards: ShardSet) -> str:
    """Say how large a corpus and its documents are."""
    lengths = lengths_of(shards)
    return (
        f"{shards.num_documents:,} documents, {shards.num_tokens:,} tokens, "
        f"median {np.median(lengths):,.0f}, mean {lengths.mean():,.0f}"
    )


def describe_machine(*libraries: str) -> str:
    """Name the processor's cores and the versions in use."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "sentencepiece", *libraries))
    return f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, {versions}"
