"""Requests for removal: which repositories and files may not be in the data, now and in every later run.

They stand in a ledger in the run folder, one JSON object a line. The filter drops what they name before any other rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from codellama_train import artifacts
from codellama_train.console import UserError
from data_prep.parts import BoolArray

LEDGER = "removed_on_request.jsonl"
REASON = "removed_on_request"


@dataclass(frozen=True)
class Request:
    """A repository, or one file of it; `because` and `date` are for people and decide nothing."""

    repository: str
    path: str | None = None
    because: str = field(default="requested", compare=False)
    date: str = field(default="", compare=False)


def read_ledger(run_dir: Path) -> list[Request]:
    """Read the requests made so far."""
    path = run_dir / LEDGER
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    try:
        return [Request(**json.loads(line)) for line in lines if line.strip()]
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({error}); each line is one JSON object, as remove_documents.py writes"
        ) from error


def add_to_ledger(run_dir: Path, requests: Iterable[Request]) -> list[Request]:
    """Add the requests that the ledger does not have; gives them all."""
    known = read_ledger(run_dir)
    today = datetime.now(UTC).date().isoformat()
    new = [request for request in dict.fromkeys(requests) if request not in known]
    known += [Request(each.repository, each.path, each.because, today) for each in new]
    if new:
        lines = "".join(json.dumps(asdict(request), ensure_ascii=False) + "\n" for request in known)
        artifacts.write_text(run_dir / LEDGER, lines)
    return known


def ledger_keys(run_dir: Path) -> list[list[str | None]]:
    """Give what of the ledger decides about documents, in an order of its own."""
    requests = {(request.repository, request.path) for request in read_ledger(run_dir)}
    return sorted([list(pair) for pair in requests], key=lambda pair: (pair[0] or "", pair[1] or ""))


def is_requested(tags: pa.Table, requests: Sequence[Request]) -> BoolArray:
    """Tell which rows of a table with repository and path are asked to be removed."""
    if not requests:
        return np.zeros(len(tags), dtype=np.bool_)
    whole = {request.repository for request in requests if request.path is None}
    files = {(request.repository, request.path) for request in requests if request.path is not None}
    rows = zip(tags["repository"].to_pylist(), tags["path"].to_pylist(), strict=True)
    return np.array([name in whole or (name, path) in files for name, path in rows], dtype=np.bool_)


def read_requests(path: Path) -> list[Request]:
    """Read a list of requests: a repository a line, or a repository, a tab and a path; # begins a remark."""
    if not path.is_file():
        raise UserError(f"there is no list of requests at {path}")
    requests = []
    for line in path.read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            repository, tab, name = line.strip("\n").partition("\t")
            requests.append(Request(repository.strip(), name if tab else None))
    return requests
