"""Sources of kind `huggingface`: rows of a data set by name, streamed by `datasets` shard by shard."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from codellama_train.console import RunFailure, UserError
from codellama_train.recipe.data_sources import HuggingfaceSource
from data_prep.documents import Document
from data_prep.removals import Removals
from data_prep.sources.columns import Columns
from data_prep.sources.data_files import reason_against_folder
from data_prep.sources.files import in_bytes
from data_prep.sources.plans import Plan
from data_prep.sources.rows import documents_of_row
from data_prep.sources.untrusted_files import LeftOut


def identity(_: str, source: HuggingfaceSource) -> str:
    """Give what decides the documents besides the keys: for a data set in a local folder, the folder."""
    return _place(source)


def _place(source: HuggingfaceSource) -> str:
    """Give the data set's name, or where it is on this machine."""
    folder = Path(source.dataset).expanduser()
    return str(folder.resolve()) if folder.is_dir() else source.dataset


def plan(name: str, source: HuggingfaceSource, removals: Removals, _: Path) -> Plan:
    """Give one task for each shard of the data set: the files it is stored in."""
    if (reason := reason_against_folder(f"{source.dataset}/{source.data_dir or ''}")) is not None:
        removals.add(name, reason, path=f"{source.dataset}/{source.data_dir}")
        return Plan([])
    try:
        dataset = _opened(*_arguments(source))
        first = next(iter(dataset.take(1)), None)
    except (OSError, ValueError) as error:
        raise UserError(
            f"sources.{name}: datasets cannot open {_shown(source)}: {_first_line(error)}; check dataset, "
            "configuration, data_dir, split and revision, log in with `hf auth login` where it asks for terms, "
            "or give a local folder"
        ) from error
    if first is not None:
        Columns(source).require(f"sources.{name}", _shown(source), first)
    number, limit = dataset.num_shards, in_bytes(source.max_megabytes)
    share = None if limit is None else -(-limit // number)
    return Plan([{"shard": shard, "shards": number, "max_bytes": share} for shard in range(number)])


def read(name: str, source: HuggingfaceSource, task: dict[str, Any]) -> Iterator[Document | LeftOut]:
    """Read one shard up to its share of the source's cap; runs in a worker."""
    columns = Columns(source)
    taken = 0
    for number, row in enumerate(_rows_of(name, source, task)):
        if isinstance(row, LeftOut):
            yield row
            return
        for entry in documents_of_row(name, source, columns, row, f"{task['shard']}:{number}"):
            taken += len(entry.text.encode()) if isinstance(entry, Document) else 0
            yield entry
        if task["max_bytes"] is not None and taken >= task["max_bytes"]:
            return


def _rows_of(name: str, source: HuggingfaceSource, task: dict[str, Any]) -> Iterator[dict[str, Any] | LeftOut]:
    """Give a shard's rows; data that cannot be read ends the shard, a connection that is lost ends the run."""
    where = f"{_shown(source)}, shard {task['shard']}"
    try:
        dataset = _opened(*_arguments(source))
        if dataset.num_shards != task["shards"]:
            raise RunFailure(
                f"sources.{name}: {_shown(source)} had {task['shards']} shards when the run began and has "
                f"{dataset.num_shards} now; give its revision and begin again with another runs folder"
            )
        yield from dataset.shard(num_shards=task["shards"], index=task["shard"])
    except (pa.ArrowException, UnicodeDecodeError) as error:
        yield LeftOut(Path(where), "unreadable", detail=_first_line(error))
    except OSError as error:
        if type(error) is OSError and error.errno is None:  # so Arrow tells of damaged data
            yield LeftOut(Path(where), "unreadable", detail=_first_line(error))
            return
        raise RunFailure(
            f"sources.{name}: {where} cannot be read: {_first_line(error)}; the same command goes on here"
        ) from error


def _arguments(source: HuggingfaceSource) -> tuple[str, str | None, str | None, str, str | None]:
    return _place(source), source.configuration, source.data_dir, source.split, source.revision


@lru_cache(maxsize=1)
def _opened(dataset: str, configuration: str | None, data_dir: str | None, split: str, revision: str | None) -> Any:
    """Open a data set once in a process's life: on the hub that asks for a list of its files."""
    from datasets import load_dataset  # takes a second to import

    return load_dataset(dataset, name=configuration, data_dir=data_dir, split=split, revision=revision, streaming=True)


def _shown(source: HuggingfaceSource) -> str:
    return "/".join(filter(None, (source.dataset, source.configuration, source.data_dir, source.split)))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
