"""Sources of every kind in one recipe, from raw files to shards, and the side table of repository facts."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from preparing import MODULES, STDLIB, copy_of_stdlib, recipe_table
from reading import reading, source_of
from test_source_stackexchange import answer, dump, question

from codellama_train.console import UserError
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.loading import as_toml, load
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet
from data_prep.pipeline import prepare
from data_prep.stage import modules_behind

WORDS = [path.read_text() for path in sorted((STDLIB / "json").glob("*.py"))]


def zipped(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.py")):
            archive.write(file, f"{folder.name}-main/{file.relative_to(folder)}")
    return path


def stack(path: Path, modules: tuple[str, ...]) -> Path:
    rows = [
        {"content": file.read_text(), "max_stars_repo_name": f"stack/{module}", "max_stars_repo_path": file.name,
         "max_stars_count": 3, "max_stars_repo_licenses": ["PSF-2.0"], "lang": "Python"}
        for module in modules
        for file in sorted((STDLIB / module).glob("*.py"))
        if file.stat().st_size
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def dialogues(path: Path) -> Path:
    lines = "".join(WORDS).split("\n")
    rows = [{"prompt": f"Explain line {n}: {line}", "completion": f"It says {line}"} for n, line in enumerate(lines)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:200]))
    return path


def mixed(folder: Path, runs: Path) -> dict[str, Any]:
    """Give a recipe with a source of nearly every kind."""
    copy_of_stdlib(folder / "code", files_per_module=2)
    threads = [row for n in range(0, 60, 2) for row in (question(n, WORDS[n % 5][n : n + 300]), answer(n + 1, n, n))]
    dump(folder / "site.stackexchange.com", *threads)
    rows = {"max_file_bytes": 200_000}
    table = recipe_table(runs, folder / "code")
    table["sources"] |= {
        "packed": {"kind": "archives", "paths": [str(zipped(folder / "xml.zip", STDLIB / "xml"))], **rows},
        "stack": {"kind": "parquet", "role": "code", "paths": [str(stack(folder / "s.parquet", MODULES[:4]))], **rows},
        "hub": {
            "kind": "huggingface",
            "role": "code",
            "dataset": str(stack(folder / "hub/train.parquet", MODULES[4:]).parent),
            **rows,
        },
        "talk": {
            "kind": "jsonl",
            "role": "instruction",
            "license": "MIT",
            "paths": [str(dialogues(folder / "d.jsonl"))],
            **rows,
        },
        "answers": {"kind": "stackexchange", "paths": [str(folder)], **rows},
    }
    table["held_out"] = {"fraction": 0.3, "seed": 1, "min_repositories": 20}
    table["shards"] = {
        name: {"source": name, "cut": "files"} for name in ("code", "packed", "stack", "hub", "answers")
    } | {"talk": {"source": "talk", "cut": "dialogues", "max_document_tokens": 500}}
    return table


def test_one_recipe_mixes_all_kinds(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    table = mixed(tmp_path, tmp_path / "runs")
    table["deduplication"]["similarity"] = 1.0  # the same modules come by several ways here
    recipe = DataRecipe.model_validate(table)
    (tmp_path / "mini.toml").write_text(as_toml(recipe))
    assert load(DataRecipe, tmp_path / "mini.toml") == recipe
    report = prepare(recipe)
    ingested = report["stages"]["ingest"]
    assert ingested["talk"]["documents_out"] == 200 - report["removed"]["ingest"].get("talk", {}).get(
        "empty_message", 0
    )
    assert ingested["answers"]["documents_out"] == 30
    assert all(ingested[name]["documents_out"] > 3 for name in table["sources"])
    licenses = {}
    for path in (recipe.run_dir / "ingest").glob("documents-*.parquet"):
        for row in pq.read_table(path, columns=["source", "license"]).to_pylist():
            licenses.setdefault(row["source"], set()).add(row["license"])
    assert licenses["talk"] == {"MIT"}
    assert licenses["stack"] == {"PSF-2.0"}
    assert licenses["answers"] == {"CC-BY-SA-2.5"}
    shards = ShardSet(recipe.run_dir / "shards/talk/train")
    tokenizer = SentencePieceTokenizer.from_folder(recipe.run_dir / "tokenizer")
    assert shards.manifest["kind"] == "dialogues"
    said = tokenizer.decode(shards.ids(0).tolist())
    assert said.startswith("[INST] Explain line ")
    learned = [
        int(token) for token, is_predicted in zip(shards.ids(0), shards.predicted(0), strict=True) if is_predicted
    ]
    assert tokenizer.decode(learned).lstrip().startswith("It says")


def test_a_change_in_the_code_of_any_kind_makes_the_ingest_stale(project):
    modules = set(modules_behind("data_prep.ingest"))
    files = {path.stem for path in (project / "data_prep/sources").glob("*.py")} - {"__init__"}
    assert {f"data_prep.sources.{name}" for name in files} <= modules


FACTS = [
    {"repository": "code/json", "stars": 5, "forks": 2, "license": "Python-2.0", "date": "2024-01-01"},
    {"repository": "email", "stars": 7, "forks": None, "license": None, "date": None},
]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_repository_facts_are_joined_by_name(tmp_path, ending):
    corpus = copy_of_stdlib(tmp_path / "code", files_per_module=1)
    path = tmp_path / f"facts.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(FACTS), path)
    elif ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in FACTS))
    else:
        lines = [",".join("" if value is None else str(value) for value in row.values()) for row in FACTS]
        path.write_text("\n".join([",".join(FACTS[0]), *lines]))
    keys = {"license": "PSF-2.0", "repository_facts": {"path": str(path)}, "max_file_bytes": 300_000}
    source = source_of(kind="folders", paths=[str(corpus)], **keys)
    found = {d.repository: (d.stars, d.forks, d.license, d.revision_time) for d in reading(source).documents}
    assert found["code/json"] == (5, 2, "Python-2.0", 1_704_067_200)
    assert found["code/email"] == (7, None, "PSF-2.0", None)
    assert found["code/html"] == (None, None, "PSF-2.0", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,stars\na,1\n", "needs one of repository, repo_name, full_name"),
        ("repository,stars\na,1\na,2\n", "names the repository a twice"),
        ("repository,stars\na,1,2,3\n", "is no table of CSV"),
        (None, "where there is no file"),
    ],
)
def test_a_table_of_facts_that_is_none_is_refused(tmp_path, text, message):
    path = tmp_path / "facts.csv"
    if text is not None:
        path.write_text(text)
    (tmp_path / "a.py").write_text("x = 1\n")
    recipe = recipe_table(tmp_path / "runs", tmp_path)
    recipe["sources"]["code"]["repository_facts"] = {"path": str(path)}
    with pytest.raises(UserError, match=message):
        prepare(DataRecipe.model_validate(recipe))
