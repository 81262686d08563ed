"""One repository by every way it may come: as a checkout, bare, as archives, as rows. The documents are the same."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import Reading, reading, source_of
from test_source_git import git

Rows = set[tuple[str, str, str, str | None]]


def said(found: Reading) -> Rows:
    """Give what the documents say, their names and times aside."""
    return {(d.path, d.text, d.language, d.license) for d in found.documents}


@pytest.fixture(scope="module")
def ways(project, tmp_path_factory) -> dict[str, Reading]:
    folder: Path = tmp_path_factory.mktemp("ways")
    git(folder, "clone", "-q", "--no-local", str(project), "thing")
    git(folder, "clone", "-q", "--bare", str(project), "thing.git")
    for ending in ("zip", "tar.gz", "tar"):
        git(folder / "thing", "archive", "--prefix=thing/", "-o", str(folder / f"thing.{ending}"), "HEAD")
    found = {"checkout": reading(source_of(kind="folders", paths=[str(folder / "thing")]))}
    found["bare"] = reading(source_of(kind="folders", paths=[str(folder / "thing.git")]))
    for ending in ("zip", "tar.gz", "tar"):
        found[ending] = reading(source_of(kind="archives", paths=[str(folder / f"thing.{ending}")]))
    rows = [
        {"content": d.text, "path": d.path, "repo_name": d.repository, "license": d.license, "language": d.language}
        for d in found["checkout"].documents
    ]
    (folder / "hub").mkdir()
    for path in (folder / "thing.parquet", folder / "hub/train.parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=50)
    (folder / "thing.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for kind in ("parquet", "jsonl"):
        found[kind] = reading(source_of(kind=kind, role="code", paths=[str(folder / f"thing.{kind}")]))
    found["hub"] = reading(source_of(kind="huggingface", role="code", dataset=str(folder / "hub")))
    return found


@pytest.mark.parametrize("way", ["bare", "zip", "tar.gz", "tar", "parquet", "jsonl", "hub"])
def test_every_way_gives_the_same_documents(ways, way):
    assert len(ways["checkout"].documents) > 200
    assert said(ways[way]) == said(ways["checkout"])
    assert {d.repository for d in ways[way].documents} == {"thing"}


def test_checkouts_and_bare_repositories_have_the_same_times_and_ids(ways):
    checkout, bare = (
        {d.path: (d.document_id, d.revision_time) for d in ways[way].documents} for way in ("checkout", "bare")
    )
    assert checkout == bare
    assert all(time for _, time in checkout.values())
    assert ways["checkout"].facts == ways["bare"].facts


def test_archives_made_by_git_have_the_time_of_their_commit(ways):
    newest = max(d.revision_time or 0 for d in ways["checkout"].documents)
    times = {d.revision_time for way in ("zip", "tar.gz", "tar") for d in ways[way].documents}
    assert max(times) >= newest
