"""Benchmarks as they are published: every format gives its items, and a wrong file is refused with its name."""

from __future__ import annotations

import csv
import gzip
import json
import re
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from codellama_train.console import UserError
from codellama_train.recipe.data_benchmarks import Benchmark, BenchmarkFormat
from data_prep.contamination.benchmark_files import read_items
from data_prep.contamination.formats import FORMATS
from data_prep.contamination.items import Item

ROWS = [
    {"id": number, "code": f"x = {number}", "tests": ["a", "b"], "extra": {"note": f"n{number}"}}
    for number in (1, 2, 3)
]
KEYS = {"item_key": "id", "text_keys": ["code", "tests", "extra.note"], "solution_keys": ["code"]}
EXPECTED = [
    Item("own", str(number), (f"x = {number}", "a", "b", f"n{number}"), (f"x = {number}",)) for number in (1, 2, 3)
]


def own(path, **keys) -> list[Item]:
    return read_items("own", Benchmark.model_validate({"path": str(path), **(keys or KEYS)}))


def test_every_kind_of_file_gives_the_same_items(tmp_path):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "b.jsonl").write_text(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "array.json").write_text("\ufeff" + json.dumps(ROWS, indent=2))
    (tmp_path / "lines.json").write_text(lines)
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "b.parquet")
    for name in ("b.jsonl", "b.jsonl.gz", "array.json", "lines.json", "b.parquet", "b.pa*", "*.jsonl*"):
        assert own(tmp_path / name) == EXPECTED, name


def test_a_csv_file_and_rows_without_names(tmp_path):
    with (tmp_path / "b.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["Question", "Answer"], ["What,\nthen?", "This"], ["And that?", "No"]])
    assert own(tmp_path / "b.csv", text_keys=["Question", "Answer"]) == [
        Item("own", "1", ("What,\nthen?", "This"), ()),
        Item("own", "2", ("And that?", "No"), ()),
    ]


def test_a_folder_gives_all_its_files_and_items_of_one_name_are_one(tmp_path):
    for language in ("cpp", "java"):
        row = {"id": "p", "code": f"{language} code", "tests": None, "extra": {"note": "same"}}
        (tmp_path / f"{language}.jsonl").write_text(json.dumps(row))
        (tmp_path / "LICENSE").write_text("not a benchmark")
    assert own(tmp_path) == [Item("own", "p", ("cpp code", "same", "java code"), ("cpp code", "java code"))]
    assert [item.name for item in own(tmp_path, text_keys=["code"])] == ["cpp.jsonl:1", "java.jsonl:1"]


def test_items_are_chosen_by_number(tmp_path):
    (tmp_path / "b.jsonl").write_text(
        "".join(json.dumps({"id": f"Set/{number}", "t": "x"}) + "\n" for number in range(20))
    )
    chosen = own(tmp_path / "b.jsonl", item_key="id", text_keys=["t"], items="2-3, 11-12")
    assert [item.name for item in chosen] == ["Set/2", "Set/3", "Set/11", "Set/12"]


def test_apps_problems_are_read_from_folders_and_from_rows(tmp_path):
    problem = tmp_path / "apps" / "test" / "0007"
    problem.mkdir(parents=True)
    (problem / "question.txt").write_text("Count the ways.")
    (problem / "solutions.json").write_text('["print(1)", "print(2)"]')
    (problem / "input_output.json").write_text("{}")
    expected = Item("own", "0007", ("Count the ways.", "print(1)", "print(2)"), ("print(1)", "print(2)"))
    assert own(tmp_path / "apps", format="apps") == [expected]
    row = {
        "problem_id": "0007",
        "question": "Count the ways.",
        "solutions": '["print(1)", "print(2)"]',
        "starter_code": "",
    }
    (tmp_path / "apps.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row | {"problem_id": 8, "solutions": ""}))
    assert own(tmp_path / "apps.jsonl", format="apps") == [expected, Item("own", "8", ("Count the ways.",), ())]


def test_a_ds1000_row_has_its_name_inside(tmp_path):
    row = {"prompt": "Problem:", "reference_code": "y = f(x)", "metadata": {"problem_id": 3, "library": "Pandas"}}
    (tmp_path / "d.jsonl").write_text(json.dumps(row))
    assert own(tmp_path / "d.jsonl", format="ds1000") == [Item("own", "3", ("Problem:", "y = f(x)"), ("y = f(x)",))]


def test_a_multipl_e_row(tmp_path):
    row = {"name": "HumanEval_0_x", "language": "sh", "prompt": "#!/bin/bash", "tests": "candidate", "stop_tokens": []}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    assert own(tmp_path / "m.jsonl", format="multipl_e") == [
        Item("own", "HumanEval_0_x", ("#!/bin/bash", "candidate"), ())
    ]


PUBLISHED = {  # file or folder: format, items
    "humaneval": ("humaneval", 164),
    "humaneval_infilling": ("humaneval_infilling", 164),
    "humaneval_x": ("humaneval", 6 * 164),
    "mxeval_humaneval": ("humaneval", 10 * 161 + 160),
    "mbpp/mbpp.jsonl": ("mbpp", 974),
    "mbpp/sanitized-mbpp.json": ("mbpp_sanitized", 427),
    "mbxp": ("humaneval", 848 + 2 * 968 + 3 * 966),
    "gsm8k": ("gsm8k", 1_319 + 7_473),
    "truthfulqa/TruthfulQA.csv": ("truthfulqa", 790),
    "toxigen": ("toxigen", None),
    "xstest": ("xstest", 450),
}


@pytest.mark.parametrize("path", PUBLISHED)
def test_published_benchmarks_give_all_their_items(shared_data, path):
    form, count = PUBLISHED[path]
    items = read_items("b", Benchmark.model_validate({"path": str(shared_data / path), "format": form}))
    assert len(items) == count or (count is None and 500 < len(items) < 31_000)
    assert all(item.texts and all(item.texts) for item in items)
    if FORMATS[form].solution_keys and "mxeval" not in path:
        assert sum(bool(item.solutions) for item in items) > 0.7 * len(items)


def test_infilling_tasks_are_the_problems_they_were_cut_from(shared_data):
    cut, whole = (
        {
            item.name: item
            for item in read_items("b", Benchmark.model_validate({"path": str(shared_data / name), "format": name}))
        }
        for name in ("humaneval_infilling", "humaneval")
    )
    assert cut.keys() == whole.keys()
    prompt, solution, _ = whole["HumanEval/3"].texts
    assert "".join((prompt + solution).split()) in {"".join(text.split()) for text in cut["HumanEval/3"].texts}


def test_every_format_is_known():
    assert set(FORMATS) == set(get_args(BenchmarkFormat))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"path": "x"}, "needs either format .* or text_keys"),
        ({"path": "x", "format": "mbpp", "text_keys": ["text"]}, "needs either format .* or text_keys"),
        ({"path": "x", "format": "mbpp", "item_key": "id"}, "leave the keys out"),
        ({"path": "x", "format": "mbpp2"}, "Input should be 'apps'"),
        ({"path": "x", "format": "mbpp", "items": "11..510"}, "String should match pattern"),
    ],
)
def test_a_table_that_does_not_say_what_to_read_is_refused(table, message):
    with pytest.raises(ValidationError, match=message):
        Benchmark.model_validate(table)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{package:no_such_package}/x.jsonl", "needs the package 'no_such_package', which is not installed"),
        ("/no/such/file.jsonl", "there is no such file"),
        ("/no/such/*.jsonl", "there is no such file"),
    ],
)
def test_an_absent_benchmark_is_refused(path, message):
    with pytest.raises(UserError, match=re.escape(message)):
        own(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b.jsonl", b"not json\n", "cannot be read as a benchmark"),
        (
            "b.jsonl",
            b'{"id": 1}\n',
            r"row 1 of .* lacks a field \(KeyError\('code'\)\); its fields are id, and the recipe",
        ),
        ("b.jsonl", b"[1]\n", "is not an object with fields"),
        ("b.jsonl", b"\xff", "cannot be read as a benchmark"),
        ("b.jsonl.gz", b"no gzip", "cannot be read as a benchmark"),
        ("b.parquet", b"no parquet", "cannot be read as a benchmark"),
        ("b.json", b"[{]", "cannot be read as a benchmark"),
        ("b.jsonl", b"\n", "holds no item"),
        ("b.json", b"[]", "holds no item"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        own(path)
    assert "decontamination.benchmarks.own" in str(caught.value)


def test_items_that_do_not_exist_are_refused(tmp_path):
    (tmp_path / "b.jsonl").write_text('{"id": 1, "t": "x"}')
    with pytest.raises(UserError, match="holds no item with a number in items='5-9'"):
        own(tmp_path / "b.jsonl", item_key="id", text_keys=["t"], items="5-9")
