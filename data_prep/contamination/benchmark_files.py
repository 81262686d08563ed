"""Benchmarks read from their published files: JSON lines, JSON arrays, CSV, Parquet, and APPS's folder per problem."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codellama_train.console import UserError
from codellama_train.recipe.data_benchmarks import Benchmark
from data_prep.contamination.formats import Format, Row, format_of
from data_prep.contamination.items import Item
from data_prep.sources.roots import resolve_package

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
QUESTION, SOLUTIONS = "question.txt", "solutions.json"  # of an APPS problem's folder


def read_items(name: str, benchmark: Benchmark) -> list[Item]:
    """Read a benchmark's items, those of the same name as one, in the order of its files."""
    key, fields = f"decontamination.benchmarks.{name}", format_of(benchmark)
    items: dict[str, tuple[list[str], list[str]]] = {}
    files = benchmark_files(name, benchmark)
    for path in files:
        for number, row in enumerate(_rows(key, path), start=1):
            try:
                for read in fields.read(row):
                    item, texts, solutions = _fields_of(
                        read, fields, number if len(files) == 1 else f"{path.name}:{number}"
                    )
                    known = items.setdefault(item, ([], []))
                    known[0].extend(text for text in texts if text not in known[0])
                    known[1].extend(text for text in solutions if text not in known[1])
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(
                    f"{key}: row {number} of {path} lacks a field ({error!r}); its fields are {_names(row)}, and the "
                    f"recipe needs {', '.join((fields.item_key or '(rows are numbered)', *fields.text_keys))}"
                ) from error
    kept = [
        Item(name, item, tuple(texts), tuple(code)) for item, (texts, code) in items.items() if _wanted(item, benchmark)
    ]
    if not kept:
        wanted = f" with a number in items={benchmark.items!r}" if benchmark.items else ""
        raise UserError(f"{key}.path = {benchmark.path!r} holds no item{wanted}; name the file that holds the problems")
    return kept


def benchmark_files(name: str, benchmark: Benchmark) -> list[Path]:
    """Find a benchmark's files, in order; a folder gives all the files in it that can be read."""
    key = f"decontamination.benchmarks.{name}"
    remedy = f"install or download the benchmark, or leave [{key}] out and measure nothing with it"
    path = resolve_package(f"{key}.path", benchmark.path, remedy=remedy)
    found = [path] if path.exists() else sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    files = [file for place in found for file in (_files_in(place) if place.is_dir() else [place])]
    if not files:
        raise UserError(f"{key}.path = {benchmark.path!r}: there is no such file; {remedy}")
    return files


def _files_in(folder: Path) -> list[Path]:
    """Give the readable files of a folder, or the questions of the APPS problems below it."""
    files = [path for path in sorted(folder.iterdir()) if path.name.removesuffix(".gz").endswith(SUFFIXES)]
    questions = sorted(folder.rglob(QUESTION))
    return questions or files


def _rows(key: str, path: Path) -> Iterator[Row]:
    try:
        if path.name == QUESTION:
            yield _apps_folder(path)
        elif path.suffix == ".parquet":
            yield from pq.read_table(path).to_pylist()
        else:
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            yield from _rows_of_text(path.name.removesuffix(".gz"), data.decode("utf-8-sig"))
    except (OSError, EOFError, zlib.error, pa.ArrowException, csv.Error, ValueError) as error:
        raise UserError(f"{key}.path: {path} cannot be read as a benchmark ({error})") from error


def _rows_of_text(name: str, text: str) -> Iterable[Row]:
    if name.endswith(".csv"):
        return csv.DictReader(io.StringIO(text, newline=""))
    if name.endswith(".json") and text.lstrip().startswith("["):
        return [_object(row) for row in json.loads(text)]
    return [_object(json.loads(line)) for line in text.split("\n") if line.strip()]


def _object(row: Any) -> Row:
    if not isinstance(row, dict):
        raise ValueError(f"{str(row)[:40]!r} is not an object with fields")
    return row


def _apps_folder(question: Path) -> Row:
    solutions = question.with_name(SOLUTIONS)
    return {
        "problem_id": question.parent.name,
        "question": question.read_text("utf-8"),
        "solutions": json.loads(solutions.read_text("utf-8")) if solutions.is_file() else [],
    }


def _fields_of(row: Row, fields: Format, number: int | str) -> tuple[str, list[str], list[str]]:
    """Give an item's name, texts and solutions."""
    name = str(number) if fields.item_key is None else str(_field(row, fields.item_key))
    texts = [text for key in fields.text_keys for text in _texts(_field(row, key))]
    return name, texts, [text for key in fields.solution_keys for text in _texts(_field(row, key))]


def _field(row: Row, key: str) -> Any:
    value: Any = row
    for part in [key] if key in row else key.split("."):
        value = value[part]
    return value


def _texts(value: Any) -> list[str]:
    """Give the texts in a field: itself, those of its list, or none where the benchmark has none."""
    if isinstance(value, list | tuple):
        return [text for part in value for text in _texts(part)]
    return [] if value is None else [str(value)]


def _names(row: Row) -> str:
    return ", ".join(map(str, row))


def _wanted(item: str, benchmark: Benchmark) -> bool:
    """Tell whether an item's number lies in the ranges that the recipe asks for."""
    if benchmark.items is None:
        return True
    digits = re.findall(r"\d+", item)
    ranges = (map(int, part.split("-")) for part in benchmark.items.split(","))
    return bool(digits) and any(low <= int(digits[-1]) <= high for low, high in ranges)
