"""Filters against the tags, the repositories of files, and the names and parts of documents."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codellama_train.console import UserError
from codellama_train.recipe.data_rules import Filters
from data_prep.documents import Document, PartWriter, digest, document_id
from data_prep.filter import filter_reasons
from data_prep.removals import SAMPLES, Removals
from data_prep.sources.roots import resolve_roots


def test_the_first_line_that_drops_a_document_is_its_reason():
    filters = Filters.model_validate({"longest_line": {"above": 10.0}, "mean_line": {"above": 5.0, "below": 1.0}})
    tags = pa.table({"language": ["c"] * 4, "longest_line": [11, 10, 5, 3], "mean_line": [9.0, 5.5, 5.0, 0.5]})
    assert filter_reasons(tags, filters) == ["longest_line above 10", "mean_line above 5", None, "mean_line below 1"]
    assert filter_reasons(tags, None) == [None] * 4


MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software"


def test_a_folder_is_one_repository_and_checkouts_below_it_their_own(tmp_path):
    for name in ("mine/a.py", "mine/sub/.git/x", "mine/sub/deep/b.py", "mine/group/other/.git/x", "mine/group/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x\n")
    (tmp_path / "mine/sub/LICENSE").write_text(MIT)
    (root,) = resolve_roots("paths", [str(tmp_path / "mine")])
    for checkout in ("sub", "group/other"):
        root.add_checkout(Path(checkout))
    names = [
        root.repository_of(Path(path)).name for path in ("a.py", "sub/deep/b.py", "group/other/d.py", "group/c.py")
    ]
    assert names == ["mine", "mine/sub", "mine/group/other", "mine"]
    assert root.repository_of(Path("sub/deep/b.py")).license == "MIT"


def test_site_packages_belong_to_their_distributions():
    (root,) = resolve_roots("paths", ["{site_packages}"])
    assert root.repository_of(Path("numpy/core/x.py")).name == "numpy"
    assert root.repository_of(Path("_pytest/main.py")).name == "pytest"
    assert root.repository_of(Path("nowhere/x.py")).name == "nowhere"
    (library,) = resolve_roots("paths", ["{stdlib}"])
    assert library.repository_of(Path("json/decoder.py")).name == "stdlib/json"


def test_folders_of_one_name_are_told_apart_and_nested_ones_refused(tmp_path):
    for name in ("a/x", "b/x"):
        (tmp_path / name).mkdir(parents=True)
    roots = resolve_roots("paths", [str(tmp_path / "a/x"), str(tmp_path / "b/x")])
    assert [root.default.name for root in roots if root.default] == ["x", "x-2"]
    with pytest.raises(UserError, match="leave the inner one out"):
        resolve_roots("paths", [str(tmp_path), str(tmp_path / "a")])


def test_documents_are_named_by_where_they_come_from():
    places = [
        ("s", "r", b"p", ""),
        ("s", "r", b"p", "1"),
        ("s", "rp", b"", ""),
        ("s", "r", b"\xff", ""),
        ("t", "r", b"p", ""),
    ]
    ids = {document_id(*place) for place in places}
    assert len(ids) == len(places)
    assert document_id("s", "r", b"p") == document_id(*places[0])


def test_parts_are_sorted_inside_and_hold_about_as_much_text_each(tmp_path):
    documents = [Document(digest(bytes([n])), "x" * 900_000, "s", "c", "r", str(n)) for n in range(12)]
    writer = PartWriter(tmp_path, "code", 3)
    for document in documents:
        writer.add(document)
    writer.flush()
    parts = sorted(tmp_path.iterdir())
    assert [path.name for path in parts] == [f"documents-code-000003-{place:03d}.parquet" for place in range(3)]
    ids = [pq.read_table(path)["document_id"].to_pylist() for path in parts]
    assert ids == [
        sorted(document.document_id for document in documents[start : start + 5]) for start in range(0, 12, 5)
    ]
    assert (writer.num_documents, writer.num_bytes) == (12, 12 * 900_000)


def test_removals_keep_counts_and_the_first_samples():
    first, second = Removals(), Removals()
    for index in range(4):
        first.add("code", "huge", path=f"a{index}", text="x" * 500, num_bytes=2)
        second.add("code", "huge", path=f"b{index}", num_bytes=1)
    second.add("related", "empty", path="c")
    first.merge(second)
    told = first.as_json()
    assert (told["code"]["huge"]["documents"], told["code"]["huge"]["bytes"]) == (8, 12)
    assert [sample["path"] for sample in told["code"]["huge"]["samples"]] == ["a0", "a1", "a2", "a3", "b0"]
    assert len(told["code"]["huge"]["samples"]) == SAMPLES
    assert len(told["code"]["huge"]["samples"][0]["text"]) == 200
    assert list(told) == ["code", "related"]
