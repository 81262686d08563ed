"""Parquet, JSON lines and Hugging Face data sets as sources, with the columns of the published data sets."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import reading, source_of

from codellama_train.console import UserError
from codellama_train.tokens.dialogue import TAGS, Message
from data_prep.documents import SCHEMA, Document, rows_to_table
from data_prep.sources.columns import NAMES, Columns
from data_prep.sources.dialogues import fault_of, messages_of_text, text_of_messages
from data_prep.sources.rows import documents_of_row
from data_prep.sources.untrusted_files import LeftOut
from data_prep.sources.values import as_count, as_license, as_text, as_time

DATE = datetime(2023, 1, 2, 3, 4, 5, tzinfo=UTC)
STACK_V1 = {
    "hexsha": "0" * 40,
    "size": 6,
    "ext": "py",
    "lang": "Python",
    "max_stars_repo_path": "src/a.py",
    "max_stars_repo_name": "someone/thing",
    "max_stars_repo_head_hexsha": "1" * 40,
    "max_stars_repo_licenses": ["MIT", "Apache-2.0"],
    "max_stars_count": 12.0,
    "max_stars_repo_stars_event_min_datetime": "2018-10-01T00:00:00.000Z",
    "max_stars_repo_stars_event_max_datetime": "2022-03-12T00:00:00.000Z",
    "max_issues_repo_path": "src/a.py",
    "max_forks_repo_name": "someone/thing",
    "max_forks_count": None,
    "content": "x = 1\n",
    "avg_line_length": 5.0,
    "max_line_length": 5,
    "alphanum_fraction": 0.4,
}
STACK_V2 = {
    "blob_id": "2" * 40,
    "path": "/src/b.rs",
    "content_id": "3" * 40,
    "detected_licenses": ["MIT"],
    "license_type": "permissive",
    "repo_name": "someone/other",
    "revision_date": DATE,
    "committer_date": DATE,
    "star_events_count": 3,
    "fork_events_count": 1,
    "src_encoding": "UTF-8",
    "language": "Rust",
    "is_vendor": False,
    "is_generated": False,
    "length_bytes": 12,
    "extension": "rs",
}
STARCODER = {
    "max_stars_repo_path": "lib/c.go",
    "max_stars_repo_name": "someone/gopher",
    "max_stars_count": 7,
    "id": "1",
    "content": "package c\n",
}


def parquet(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def jsonl(path: Path, rows: list[Any]) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(data)
    else:
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read_parquet(*paths: Path, **keys: Any):
    return reading(source_of(kind="parquet", paths=[str(path) for path in paths], **({"role": "code"} | keys)))


def read_jsonl(*paths: Path, **keys: Any):
    return reading(source_of(kind="jsonl", paths=[str(path) for path in paths], **({"role": "code"} | keys)))


def test_the_stack_v1(tmp_path):
    document = read_parquet(parquet(tmp_path / "data.parquet", [STACK_V1])).only()
    assert (document.repository, document.path, document.language) == ("someone/thing", "src/a.py", "python")
    assert (document.license, document.stars, document.forks) == ("Apache-2.0 AND MIT", 12, None)
    assert document.revision_time is None, "its dates are those of stars"


def test_the_stack_v2_with_contents(tmp_path):
    marked = [STACK_V2 | {"path": name, mark: True} for name, mark in (("v.rs", "is_vendor"), ("g.rs", "is_generated"))]
    rows = [row | {"content": "fn main() {}\n"} for row in [STACK_V2, *marked]]
    rows.append(rows[0] | {"language": "Jupyter Notebook", "path": "n.ipynb"})
    found = read_parquet(parquet(tmp_path / "data.parquet", rows))
    document = found.only()
    assert (document.repository, document.path, document.language) == ("someone/other", "/src/b.rs", "rust")
    assert (document.license, document.stars, document.forks) == ("MIT", 3, 1)
    assert document.revision_time == int(DATE.timestamp())
    assert found.reasons == {"marked_vendored": 1, "marked_generated": 1, "notebook": 1}


def test_the_stack_v2_by_repository(tmp_path):
    files = [{"blob_id": "a", "path": f"/f{n}.py", "content": f"x = {n}\n", "language": "Python"} for n in range(3)]
    row = {"repo_name": "someone/whole", "star_events_count": 5, "num_files": 3, "files": files}
    for path in (parquet(tmp_path / "data.parquet", [row, row]), jsonl(tmp_path / "data.jsonl", [row, row])):
        found = reading(source_of(kind=path.suffix[1:], paths=[str(path)], role="code"))
        assert [(d.repository, d.path, d.stars) for d in found.documents] == 2 * [
            ("someone/whole", f"/f{n}.py", 5) for n in range(3)
        ]


def test_ids_without_contents_are_refused_with_what_to_do(tmp_path):
    grouped = {"repo_name": "x", "files": [{"blob_id": "a", "path": "/a.py"}]}
    for row in (STACK_V2, grouped):
        for path in (parquet(tmp_path / "data.parquet", [row]), jsonl(tmp_path / "data.jsonl", [as_json(row)])):
            with pytest.raises(UserError, match=r"holds ids of files \(blob_id\).*download .* from Software Heritage"):
                reading(source_of(kind=path.suffix[1:], paths=[str(path)], role="code"))


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(row, default=str))


def test_starcoderdata_and_its_folders_that_are_not_code(tmp_path):
    parquet(tmp_path / "go/train-00000.parquet", [STARCODER])
    for folder in ("jupyter-scripts-dedup-filtered", "github-issues-filtered-structured", "git-commits-cleaned"):
        parquet(tmp_path / folder / "train-00000.parquet", [STARCODER])
    found = read_parquet(tmp_path)
    document = found.only()
    assert (document.repository, document.language, document.stars) == ("someone/gopher", "go", 7)
    assert found.reasons == {"notebook": 1, "issues": 1, "commits": 1}
    assert read_parquet(tmp_path / "git-commits-cleaned/*.parquet").reasons == {"commits": 1}


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "jsonl.zst"])
def test_dolma_and_datatrove_lines(tmp_path, ending):
    metadata = {"max_stars_repo_name": "a/b", "max_stars_repo_path": "x.py", "max_stars_count": 4}
    rows = [{"id": "1", "text": "x = 1\n", "source": "stack", "created": "2023-01-02T03:04:05Z", "metadata": metadata}]
    document = read_jsonl(jsonl(tmp_path / f"part.{ending}", rows)).only()
    assert (document.repository, document.path, document.stars) == ("a/b", "x.py", 4)
    assert document.revision_time == int(DATE.timestamp())


def test_metadata_in_a_parquet_file_and_names_of_ones_own(tmp_path):
    rows = [{"body": "x = 1\n", "metadata": {"origin": {"repo": "a/b"}, "path": "x.py"}}]
    columns = {"text": "body", "repository": "metadata.origin.repo"}
    document = read_parquet(parquet(tmp_path / "d.parquet", rows), columns=columns).only()
    assert (document.text, document.repository, document.path) == ("x = 1\n", "a/b", "x.py")


def test_language_prose_and_documentation_rows(tmp_path):
    rows = [{"text": "First words.\n\nMore words.\n\nLast words.\n"}, {"text": "word " * 30_000}]
    path = jsonl(tmp_path / "d.jsonl", rows)
    found = read_jsonl(path, role="language", document_characters=30, license="CC0-1.0")
    assert [d.text for d in found.documents] == ["First words.\n\nMore words.\n", "Last words.\n"]
    assert {(d.license, d.language, d.repository) for d in found.documents} == {("CC0-1.0", "english", "some")}
    assert found.reasons == {"huge": 1}
    assert len(read_jsonl(path, role="code_language").documents) == 1
    rows = [
        {"content": '"""A docstring that is long enough to count here."""\n', "path": "a.py"},
        {"content": "# Title\n", "path": "README.md"},
        {"content": "int a;\n", "path": "a.c"},
    ]
    found = read_jsonl(jsonl(path, rows), role="code_language", min_docstring_characters=20)
    assert [d.text for d in found.documents] == ["A docstring that is long enough to count here.\n", "# Title\n"]
    assert found.reasons == {"other_kind_of_file": 1}


def test_code_without_a_known_language_needs_the_recipes_word(tmp_path):
    path = jsonl(tmp_path / "d.jsonl", [{"text": "x = 1\n"}, {"text": "y\n", "lang": "Elm"}])
    found = read_jsonl(path)
    assert (found.only().language, found.reasons) == ("elm", {"unknown_language": 1})
    assert [d.language for d in read_jsonl(path, language="python").documents] == ["python", "elm"]


def test_instruction_rows_of_every_shape_become_dialogues(tmp_path):
    rows = [
        {"prompt": " Write it. ", "completion": "print(1)\n"},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
                      {"role": "assistant", "content": "Ho"}, {"role": "user", "content": "More"},
                      {"role": "assistant", "content": "No"}]},
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
        {"prompt": "An [INST] inside", "completion": "x"},
        {"messages": [{"role": "user", "content": "Q"}]},
        {"messages": [{"role": "assistant", "content": "A"}, {"role": "user", "content": "Q"}]},
        {"prompt": "Q", "completion": "  "},
        {"messages": [{"role": "tool", "content": "Q"}]},
        {"messages": "Q"},
        {"prompt": None, "completion": "A"},
    ]  # fmt: skip
    found = read_jsonl(jsonl(tmp_path / "d.jsonl", rows), role="instruction")
    assert [[(m.role, m.content) for m in messages_of_text(d.text)] for d in found.documents] == [
        [("user", "Write it."), ("assistant", "print(1)")],
        [("system", "Be brief."), ("user", "Hi"), ("assistant", "Ho"), ("user", "More"), ("assistant", "No")],
        [("user", "Q"), ("assistant", "A")],
    ]
    assert {d.language for d in found.documents} == {"dialogue"}
    assert found.reasons == {
        "holds_chat_tag": 1,
        "ends_without_answer": 1,
        "turns_out_of_order": 2,
        "empty_message": 1,
        "no_messages": 2,
    }


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), min_size=1, max_size=7))
def test_dialogues_come_back_from_their_text(contents):
    roles = ["system"] * (len(contents) % 2) + ["user", "assistant"] * (len(contents) // 2)
    messages = tuple(Message(role, content.strip()) for role, content in zip(roles, contents, strict=True))
    if fault_of(messages) is None:
        assert messages_of_text(text_of_messages(messages)) == messages
    else:
        assert not all(message.content for message in messages) or len(messages) < 2 or has_tag(messages)


def has_tag(messages) -> bool:
    return any(tag in message.content for message in messages for tag in TAGS)


def test_columns_that_are_missing_are_told_with_those_there_are(tmp_path):
    rows = [{"body": "x", "name": "y"}]
    for path in (parquet(tmp_path / "d.parquet", rows), jsonl(tmp_path / "d.jsonl", rows)):
        kind = path.suffix[1:]
        with pytest.raises(
            UserError, match=rf"the rows of d.{kind} have the columns body, name, none of which is the text"
        ):
            reading(source_of(kind=kind, paths=[str(path)], role="code"))
        with pytest.raises(UserError, match="role='instruction' needs messages, or prompt and completion"):
            reading(source_of(kind=kind, paths=[str(path)], role="instruction"))


def test_hostile_lines_are_named_and_the_others_read(tmp_path):
    good = b'{"text": "x = 1", "path": "a.py"}\n'
    path = tmp_path / "d.jsonl"
    lines = [
        good,
        b'{"text": "' + b"x" * 3_000_000 + b'"}\n',
        b"\xff\xfe{}\n",
        b"not json\n",
        b"[" * 100_000 + b"\n",
        b'["a list"]\n',
        b'{"text": 5}\n',
        b'{"path": "b.py"}\n',
        b'{"text": "\\ud800", "path": "a.py"}\n',
        b'{"text": "a\\u0000b", "path": "a.py"}\n',
        b'{"text": "y", "path": "\\ud800.py", "max_stars_count": 1e400, "created": "yesterday"}\n',
        b"\n",
        good.rstrip(),
    ]
    path.write_bytes(b"".join(lines))
    found = read_jsonl(path)
    assert [d.text for d in found.documents] == ["x = 1", "y", "x = 1"]
    assert found.reasons == {
        "huge": 1,
        "not_utf8": 2,
        "not_json": 2,
        "not_a_json_object": 1,
        "no_text": 2,
        "binary": 1,
    }


def test_unreadable_files_are_named(tmp_path):
    for name in ("d.parquet", "d.jsonl.gz", "d.jsonl.zst"):
        (tmp_path / name).write_bytes(b"nothing of the kind" * 100)
    assert read_parquet(tmp_path / "d.parquet").reasons == {"unreadable": 1}
    assert read_jsonl(tmp_path).reasons == {"unreadable": 2, "other_kind_of_file": 1}
    rows = [{"text": f"x = {n}\n", "path": f"{n}.py"} for n in range(20_000)]
    whole = jsonl(tmp_path / "cut.jsonl.gz", rows).read_bytes()
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    found = read_jsonl(tmp_path / "cut.jsonl.gz")
    assert len(found.documents) > 100
    assert found.reasons == {"unreadable": 1}
    with pytest.raises(UserError, match=r"where there is no file \(\.parquet\)"):
        read_parquet(tmp_path / "nothing")


def test_a_file_of_another_kind_is_refused_before_it_is_read_through(tmp_path):
    rows = [{"text": f"x = {n}\n", "path": f"{n}.py"} for n in range(5_000)]
    path = parquet(tmp_path / "d.parquet", rows, compression="none", use_dictionary=False)
    with pytest.raises(UserError, match=r"none of the first 100 lines of .* is a JSON object"):
        read_jsonl(path)
    assert read_parquet(jsonl(tmp_path / "d.jsonl", rows)).reasons == {"unreadable": 1}


def test_a_damaged_row_group_leaves_the_others(tmp_path):
    rows = [{"text": f"x = {n}\n" * 50, "path": f"{n}.py"} for n in range(400)]
    path = parquet(tmp_path / "d.parquet", rows, row_group_size=100, use_dictionary=False, write_page_checksum=True)
    place = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[place + 2_000 : place + 2_100] = bytes(100)
    path.write_bytes(data)
    found = read_parquet(path)
    assert {d.path for d in found.documents} >= {f"{n}.py" for n in (*range(100), *range(200, 400))}
    assert found.reasons == {"unreadable": 1}


def test_parquet_text_that_is_not_utf8_is_named(tmp_path):
    text = pa.array([b"x = 1\n", b"caf\xe9\n", b"y\0\n"]).view(pa.binary()).cast(pa.binary())
    wrong = pa.StringArray.from_buffers(3, *text.buffers()[1:])
    for column in (wrong, wrong.dictionary_encode(), text):
        pq.write_table(pa.table({"text": column, "path": ["a.py", "b.py", "c.py"]}), tmp_path / "d.parquet")
        found = read_parquet(tmp_path / "d.parquet")
        assert (found.only().text, found.reasons) == ("x = 1\n", {"not_utf8": 1, "binary": 1})


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_documents_do_not_depend_on_where_tasks_are_cut(tmp_path, monkeypatch, kind):
    rows = [{"text": f"x = {n}\n" * (n % 7 + 1), "path": f"{n}.py"} for n in range(1_000)]
    parquet(tmp_path / "d.parquet", rows, row_group_size=100)
    jsonl(tmp_path / "d.jsonl", rows)
    source = source_of(kind=kind, paths=[str(tmp_path)], role="code")
    whole = reading(source)
    monkeypatch.setattr(f"data_prep.sources.{kind}.TASK_BYTES", 1_777)
    cut = reading(source)
    assert len(cut.tasks) > len(whole.tasks) == 1
    assert cut.documents == whole.documents
    assert [d.text for d in whole.documents] == [row["text"] for row in rows]


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.integers(0, 60), max_size=30), st.integers(1, 100))
def test_every_line_is_read_once_wherever_ranges_end(tmp_path_factory, lengths, task_bytes):
    path = tmp_path_factory.mktemp("lines") / "d.jsonl"
    lines = [json.dumps({"text": f"{n} " + "x" * length}) for n, length in enumerate(lengths)]
    path.write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_prep.sources.jsonl.TASK_BYTES", task_bytes)
        found = reading(source_of(kind="jsonl", paths=[str(path)], role="language"))
    assert [d.text for d in found.documents] == [json.loads(line)["text"] for line in lines]


def test_caps_bound_what_is_read(tmp_path):
    rows = [{"text": f"{n} = 1\n" * 5_000, "path": f"{n}.py"} for n in range(100)]
    parquet(tmp_path / "d.parquet", rows, row_group_size=5, compression="none", use_dictionary=False)
    jsonl(tmp_path / "d.jsonl", rows)
    for kind in ("parquet", "jsonl"):
        found = reading(source_of(kind=kind, paths=[str(tmp_path)], role="code", max_megabytes=1))
        assert 800_000 < sum(len(d.text) for d in found.documents) < 1_300_000, kind
    assert len(read_parquet(tmp_path / "d.parquet", max_megabytes=1).reasons) == 1


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("x = 1\n")
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
NAMES_OF_COLUMNS = sorted({name for names in NAMES.values() for name in names} | {"metadata"})


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(st.sampled_from(NAMES_OF_COLUMNS), VALUES), st.sampled_from(["code", "language", "instruction"]))
def test_any_row_gives_documents_that_can_be_stored_or_a_reason(row, role):
    source = source_of(kind="jsonl", paths=["x"], role=role, language="python")
    entries = list(documents_of_row("some", source, Columns(source), row, "file:0"))
    documents = [entry for entry in entries if isinstance(entry, Document)]
    table = rows_to_table(documents, SCHEMA)
    with pa.BufferOutputStream() as stream:
        pq.write_table(table, stream)
    assert all(entry.reason for entry in entries if isinstance(entry, LeftOut))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (DATE, 1_672_628_645),
        (DATE.replace(tzinfo=None), 1_672_628_645),
        ("2023-01-02T03:04:05Z", 1_672_628_645),
        ("2023-01-02 03:04:05 UTC", 1_672_628_645),
        (b"2023-01-02T04:04:05+01:00", 1_672_628_645),
        (DATE.date(), 1_672_617_600),
        (1_672_628_645_000, 1_672_628_645),
        (1_672_628_645.0, 1_672_628_645),
        ("soon", None),
        (None, None),
        (float("nan"), None),
        (-5, None),
        (10**30, None),
        (1e300, None),
    ],
)
def test_times_of_every_form(value, expected):
    assert as_time(value) == expected


def test_counts_licences_and_words():
    assert [as_count(value) for value in (3, 3.0, float("nan"), 1e300, "3", True, None)] == [3, 3, *[None] * 5]
    licenses = ["MIT", ["MIT"], ["MIT", "ISC", "MIT"], [], "", None, [None]]
    assert [as_license(value) for value in licenses] == ["MIT", "MIT", "ISC AND MIT", None, None, None, None]
    assert [as_text(value) for value in ("a", b"a\xff", "\ud800", 5, None)] == ["a", "a\ufffd", "?", "", ""]
