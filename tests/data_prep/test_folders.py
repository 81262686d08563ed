"""Folders that nobody vouches for: every entry is read or left out for a named reason, and nothing stops the run."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from preparing import mini_recipe

from data_prep import ingest
from data_prep.documents import SCHEMA
from data_prep.sources.untrusted_files import FoundFile, LeftOut, Refused, decode, find_files, read_bytes, shown
from data_prep.work import Work

NOBODY = 65534


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may look into, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


def as_ordinary_user(function: Callable[[], dict[str, int]]) -> dict[str, int]:
    """Call in a child that file permissions apply to, which they do not to root."""
    if os.geteuid() != 0:
        return function()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(NOBODY)
        os.write(writer, json.dumps(function()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer: dict[str, int] = json.loads(pipe.read())
    os.waitpid(child, 0)
    return answer


def hostile_tree(root: Path, outside: Path) -> dict[str, int]:
    """Fill a folder with everything that goes wrong, and give how often each outcome is due."""
    outside.mkdir()
    (outside / "secret.py").write_text("password = 1\n")
    tree = {
        "plain.py": b"x = 1\n",
        "marked.py": b"\xef\xbb\xbfx = 2\n",
        "empty.py": b"",
        "blank.py": b" \n\t\n",
        "binary.py": b"\x7fELF\x00\x01",
        "latin.py": "caf\xe9 = 1\n".encode("latin-1"),
        "utf16.py": "x = 1\n".encode("utf-16"),
        "huge.py": b"x" * 2000 + b"\n",
        "picture.png": b"\x89PNG",
        "line\nbreak.py": b"y = 1\n",
        "tests/test_x.py": b"assert True\n",
        "deep/" * 30 + "deep.py": b"z = 1\n",
    }
    for name, data in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    Path(os.fsdecode(os.fsencode(root) + b"/bytes\xff\xfe.py")).write_text("w = 1\n")
    (root / "unreadable.py").write_text("v = 1\n")
    (root / "unreadable.py").chmod(0)
    (root / "closed").mkdir()
    (root / "closed").chmod(0)
    (root / "out.py").symlink_to(outside / "secret.py")
    (root / "out").symlink_to(outside, target_is_directory=True)
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "self.py").symlink_to(root / "self.py")
    (root / "gone.py").symlink_to(root / "nowhere.py")
    os.mkfifo(root / "pipe.py")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket.py"))
    return {
        "read": 5,  # plain, marked, line break, deep, odd bytes
        "empty": 2,
        "binary": 1,
        "not_utf8": 2,
        "huge": 1,
        "other_kind_of_file": 1,
        "excluded_folder": 1,
        "unreadable": 1,
        "unreadable_folder": 1,
        "link_out_of_tree": 2,
        "link_within_tree": 1,
        "link_broken_or_looping": 2,
        "special_file": 2,
    }


def outcomes(root: Path) -> dict[str, int]:
    counts: Counter[str] = Counter()
    entries = find_files(
        root, exclude_folders=["tests"], max_file_bytes=1000, is_wanted=lambda path: path.suffix == ".py"
    )
    for entry in entries:
        if isinstance(entry, LeftOut):
            counts[entry.reason] += 1
            continue
        try:
            decode(read_bytes(entry.path, 1000))
            counts["read"] += 1
        except Refused as refusal:
            counts[refusal.reason] += 1
    return dict(counts)


def test_every_hostile_entry_has_its_outcome(open_folder):
    root = open_folder / "tree"
    root.mkdir()
    expected = hostile_tree(root, open_folder / "outside")
    assert as_ordinary_user(lambda: outcomes(root)) == expected


def test_ingest_survives_a_hostile_folder_and_says_why(open_folder, tmp_path):
    root = open_folder / "tree"
    root.mkdir()
    expected = hostile_tree(root, open_folder / "outside")
    if os.geteuid() == 0:  # permissions do not stop root: the closed file is read, the closed folder is empty
        expected |= {"read": expected["read"] + 1}
        del expected["unreadable"], expected["unreadable_folder"]
    read = expected.pop("read")
    table = mini_recipe(tmp_path, root)
    code = table.sources["code"].model_copy(update={"max_file_bytes": 1000})
    recipe = table.model_copy(update={"sources": {"code": code}})
    facts = ingest.run(Work(recipe, tmp_path, tmp_path))
    assert facts["sources"]["code"]["documents_out"] == read
    assert {reason: counts["documents"] for reason, counts in facts["removed"]["code"].items()} == expected
    assert all(counts["samples"] for counts in facts["removed"]["code"].values())
    json.dumps(facts).encode()  # odd names are written as text
    assert len(list(tmp_path.glob("documents-*.parquet"))) == 1


def test_links_are_never_followed_even_when_put_in_place_after_the_walk(tmp_path):
    target = tmp_path / "target.py"
    target.write_text("secret\n")
    (tmp_path / "link.py").symlink_to(target)
    with pytest.raises(Refused, match="unreadable"):
        read_bytes(tmp_path / "link.py", 1000)


def test_a_file_that_grew_since_it_was_found_is_still_bounded(tmp_path):
    (tmp_path / "grown.py").write_bytes(b"x" * 5000)
    with pytest.raises(Refused, match="huge"):
        read_bytes(tmp_path / "grown.py", 1000)


def test_walk_is_in_the_order_of_names(tmp_path):
    for name in ("b/x.py", "a/z.py", "c.py", "a/y.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1\n")
    found = find_files(tmp_path, exclude_folders=[], max_file_bytes=10, is_wanted=lambda _: True)
    names = [str(entry.relative) for entry in found if isinstance(entry, FoundFile)]
    assert names == ["c.py", "a/y.py", "a/z.py", "b/x.py"]


def test_an_exclusion_with_a_slash_is_a_path(tmp_path):
    for name in ("one/ops/x.py", "two/ops/y.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("1\n")
    found = find_files(tmp_path, exclude_folders=["*e/ops"], max_file_bytes=10, is_wanted=lambda _: True)
    assert [str(entry.relative) for entry in found if isinstance(entry, FoundFile)] == ["two/ops/y.py"]


@given(st.binary(max_size=200))
def test_decoding_gives_the_bytes_back_or_a_reason(data):
    try:
        outcome = decode(data).encode()
    except Refused as refusal:
        outcome = refusal
    if isinstance(outcome, Refused):
        assert outcome.reason in ("binary", "not_utf8", "empty")
    else:
        assert outcome == data.removeprefix(b"\xef\xbb\xbf")


@given(st.binary(min_size=1, max_size=50).filter(lambda name: b"\0" not in name))
def test_any_name_can_be_shown(name):
    assert shown(Path(os.fsdecode(name))).encode("utf-8"), "a name that no terminal can print is shown escaped"


def test_document_columns_are_those_of_the_contract():
    origin = ["source", "language", "repository", "path", "license", "stars", "forks", "revision_time"]
    assert SCHEMA.names == ["document_id", "text", *origin]
