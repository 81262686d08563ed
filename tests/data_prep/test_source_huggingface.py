"""Data sets by name, through the very `load_dataset` call that the hub would answer, here from local folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import reading, source_of

from codellama_train.console import RunFailure, UserError
from data_prep.sources import huggingface


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch):
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    huggingface._opened.cache_clear()


def dataset(folder: Path, *, shards: int = 3, rows: int = 20) -> Path:
    """Write a data set as the hub stores them: a folder of Parquet files per language."""
    for language, ending in (("python", "py"), ("go", "go")):
        (folder / "data" / language).mkdir(parents=True)
        for shard in range(shards):
            numbers = range(shard * rows, (shard + 1) * rows)
            table = {
                "content": [f"x = {number}\n" * 1_000 for number in numbers],
                "max_stars_repo_path": [f"{number}.{ending}" for number in numbers],
                "max_stars_repo_name": ["a/b"] * rows,
                "max_stars_count": list(numbers),
                "lang": [language.title()] * rows,
            }
            path = folder / "data" / language / f"train-{shard:05d}-of-{shards:05d}.parquet"
            pq.write_table(pa.table(table), path)
    return folder


def read(folder: Path | str, **keys: Any):
    return reading(source_of(kind="huggingface", dataset=str(folder), **({"role": "code"} | keys)))


def test_a_data_set_is_read_shard_by_shard(tmp_path):
    found = read(dataset(tmp_path), data_dir="data/python")
    assert [task["shard"] for task in found.tasks] == [0, 1, 2]
    assert [(d.path, d.language, d.stars, d.repository) for d in found.documents] == [
        (f"{number}.py", "python", number, "a/b") for number in range(60)
    ]
    assert len(read(tmp_path).documents) == 120


def test_a_cap_takes_the_beginning_of_every_shard(tmp_path):
    found = read(dataset(tmp_path, rows=100), data_dir="data/go", max_megabytes=1)
    counts = [sum(int(d.path.removesuffix(".go")) // 100 == shard for d in found.documents) for shard in range(3)]
    assert sum(len(d.text) for d in found.documents) < 1_100_000
    assert min(counts) > 30
    assert max(counts) < 60


def test_instruction_data_in_a_folder_of_json_lines(tmp_path):
    rows = [{"prompt": f"Write {number}", "completion": f"print({number})"} for number in range(5)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read(tmp_path, role="instruction", license="MIT")
    assert {(d.language, d.license) for d in found.documents} == {("dialogue", "MIT")}
    assert len(found.documents) == 5


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"split": "nope"}, "Bad split: nope"),
        ({"configuration": "nope"}, "BuilderConfig 'nope' not found"),
        ({"data_dir": "nope"}, "doesn't contain any data files"),
        ({"columns": {"text": "nope"}}, "none of which is the text"),
    ],
)
def test_what_cannot_be_opened_is_one_sentence(tmp_path, keys, message):
    dataset(tmp_path)
    with pytest.raises(UserError, match=message):
        read(tmp_path, **keys)


def test_a_name_that_the_hub_does_not_answer_for_is_one_sentence():
    with pytest.raises(UserError, match=r"cannot open nobody/nothing/train: .*log in with `hf auth login`"):
        read("nobody/nothing")


def test_folders_that_are_not_code_are_left_out_unopened():
    assert read("bigcode/starcoderdata", data_dir="jupyter-scripts-dedup-filtered").reasons == {"notebook": 1}


def test_a_data_set_that_changed_under_a_run_ends_it(tmp_path):
    source = source_of(kind="huggingface", dataset=str(dataset(tmp_path)), role="code", data_dir="data/go")
    tasks = reading(source).tasks
    next((tmp_path / "data/go").iterdir()).unlink()
    huggingface._opened.cache_clear()
    with pytest.raises(RunFailure, match="had 3 shards when the run began and has 2 now"):
        list(huggingface.read("some", source, tasks[0]))


def test_a_damaged_shard_is_named_and_the_others_read(tmp_path):
    path = sorted((dataset(tmp_path, rows=400) / "data/go").iterdir())[1]
    source = source_of(kind="huggingface", dataset=str(tmp_path), role="code", data_dir="data/go")
    damaged = bytearray(path.read_bytes())
    damaged[100:5_000] = bytes(4_900)
    path.write_bytes(damaged)
    found = reading(source)
    assert {int(d.path.removesuffix(".go")) // 400 for d in found.documents} >= {0, 2}
    assert found.reasons == {"unreadable": 1}
