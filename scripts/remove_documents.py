#!/usr/bin/env python3
"""Remove documents from a data run on request, from its shards and its tables, and keep them out of later runs.

python scripts/remove_documents.py DATA_FOLDER --repository NAME … --path REPOSITORY PATH … [--from-file LIST]
python scripts/remove_documents.py DATA_FOLDER                    finishes a removal that was interrupted
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from codellama_train.console import UserError, print_table, run_program
from data_prep.removal_requests import LEDGER, Request, add_to_ledger, read_ledger, read_requests
from data_prep.requested_removal import (
    Found,
    find_copies,
    find_documents,
    finish_interrupted,
    holdings,
    purge_texts,
    rebuild_shards,
    refresh_report,
)

SHOWN = 20


def main(arguments: Sequence[str]) -> None:
    """Say what goes, then take it out unless this is a dry run."""
    options = _parser().parse_args(arguments)
    run_dir: Path = options.folder.resolve()
    if not (run_dir / "tag").is_dir():
        raise UserError(f"{options.folder} is no finished data run; scripts/prepare_data.py makes one")
    finish_interrupted(run_dir)
    asked = [Request(name) for name in options.repository] + [Request(*pair) for pair in options.path]
    asked += read_requests(options.from_file) if options.from_file else []
    requests = list(dict.fromkeys([*read_ledger(run_dir), *asked]))
    if not requests:
        raise UserError(
            f"nothing is asked for and {run_dir / LEDGER} is empty; give --repository, --path or --from-file"
        )
    documents = find_documents(run_dir, requests)
    copies = find_copies(run_dir, requests, documents)
    _say(asked, documents, copies, with_copies=options.near_copies)
    going = documents + (copies if options.near_copies else [])
    _say_holdings(run_dir, going)
    if options.dry_run:
        print("a dry run: nothing was changed")
        return
    if options.near_copies:
        asked += [Request(copy.repository, copy.path, f"copy of {copy.copy_of}") for copy in copies]
    add_to_ledger(run_dir, asked)
    _remove(run_dir, going)
    print(f"done; with {run_dir / LEDGER} the filter of prepare_data.py keeps them out of later runs")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="remove_documents.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the data run's folder, for example runs/data/tiny")
    parser.add_argument("--repository", action="append", default=[], metavar="NAME", help="all of a repository")
    parser.add_argument("--path", action="append", default=[], nargs=2, metavar=("REPOSITORY", "PATH"), help="one file")
    parser.add_argument("--from-file", type=Path, help="a list: a repository a line, or repository, tab, path")
    parser.add_argument("--near-copies", action="store_true", help="also what is the same or nearly the same elsewhere")
    parser.add_argument("--dry-run", action="store_true", help="say which shards hold what, and change nothing")
    return parser


def _say(asked: Sequence[Request], documents: Sequence[Found], copies: Sequence[Found], *, with_copies: bool) -> None:
    """Say which documents are named, which requests name none, and where copies are."""
    repositories = {document.repository for document in documents}
    files = {(document.repository, document.path) for document in documents}
    for request in asked:
        if request.repository not in repositories or (
            request.path is not None and (request.repository, request.path) not in files
        ):
            path = "" if request.path is None else f": {request.path}"
            print(f"this run has no document of {request.repository}{path}; the request is remembered for later runs")
    _list("documents asked for", documents)
    verdict = "go too" if with_copies else "stay; --near-copies takes them too"
    _list(f"copies of them elsewhere, which {verdict}", copies)


def _list(title: str, found: Sequence[Found]) -> None:
    if found:
        rows = list(dict.fromkeys((each.repository, each.path, each.copy_of or "") for each in found))
        more = f", {SHOWN} of {len(rows):,} files" if len(rows) > SHOWN else ""
        columns = ["repository", "path", *(["copy of"] if any(copy_of for *_, copy_of in rows) else [])]
        print_table(f"{len(found):,} {title}{more}", columns, [row[: len(columns)] for row in rows[:SHOWN]])


def _say_holdings(run_dir: Path, going: Sequence[Found]) -> None:
    rows = [
        [f"{held.view}/{held.split}/{held.shard:05d}", held.pieces, held.tokens]
        for held in holdings(run_dir, _ids(going))
    ]
    if rows:
        print_table("Shards that hold them", ["shard", "pieces", "tokens"], rows)
    else:
        print("no shard holds any piece of them")


def _remove(run_dir: Path, going: Sequence[Found]) -> None:
    if holdings(run_dir, _ids(going)):
        rebuild_shards(run_dir, _ids(going))
    purge_texts(run_dir, going)
    refresh_report(run_dir)


def _ids(found: Sequence[Found]) -> np.ndarray:
    return np.array([document.document_id for document in found], dtype="S16")


if __name__ == "__main__":
    run_program(main)
