"""The whole line on a small corpus: what comes out, whatever the workers and interruptions, and what is refused."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from benchmark_items import HUMANEVAL, RULES
from preparing import copy_of_stdlib, mini_recipe, recipe_table

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.loading import as_toml
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet
from data_prep.pipeline import STAGES, prepare

NAMES = [stage.name for stage in STAGES]
DECONTAMINATION = RULES.model_dump(exclude_defaults=True)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Real files, and planted ones: equal and near-equal copies, and a benchmark's solution."""
    folder = copy_of_stdlib(tmp_path_factory.mktemp("corpus"), files_per_module=4)
    original = (folder / "json" / "decoder.py").read_text("utf-8")
    (folder / "email" / "equal.py").write_text(original.replace("\n", "\r\n"), "utf-8", newline="")
    (folder / "email" / "near.py").write_text(original.replace("JSONDecodeError", "Oops", 1), "utf-8")
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, corpus) -> DataRecipe:
    """A finished run of the small recipe, with the benchmark's 24th item planted in two forms."""
    plain = mini_recipe(tmp_path_factory.mktemp("runs"), corpus, decontamination=DECONTAMINATION)
    prompt, solution, _ = next(item.texts for item in HUMANEVAL if item.name == "HumanEval/10")
    tagged = "def ask():\n    'Print [INST] and wait.'\n    return input('[INST]')\n"
    (corpus / "logging" / "tagged.py").write_text(tagged, "utf-8")
    (corpus / "logging" / "planted.py").write_text(f"import os\n\n{prompt}{solution}\n", "utf-8")
    prepare(plain)
    return plain


def bytes_of(run_dir: Path) -> dict[str, str]:
    """Hash every file of a run that may not depend on the clock."""
    paths = sorted(path for path in run_dir.rglob("*") if path.is_file())
    digests = {str(path.relative_to(run_dir)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return {name: digest for name, digest in digests.items() if not name.endswith(".json") or name.count("/") > 1}


def manifests_of(run_dir: Path) -> dict[str, dict[str, Any]]:
    """Read every manifest of a run, without what follows the clock."""
    manifests = {
        str(path.relative_to(run_dir)): artifacts.read_json(path) for path in run_dir.rglob(artifacts.MANIFEST)
    }
    return {
        name: {key: value for key, value in manifest.items() if key not in ("seconds", artifacts.OWN_CHECKSUM)}
        for name, manifest in manifests.items()
    }


def done_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Name the stages that the last run did."""
    return [record.args[0] for record in caplog.records if record.msg == "%s: done in %.1f s"]  # type: ignore[index,misc]


def test_shards_hold_what_the_recipe_asks_for(recipe):
    tokenizer = SentencePieceTokenizer.from_folder(recipe.run_dir / "tokenizer")
    for name, view in recipe.shards.items():
        for split in ("train", "held_out"):
            shards = ShardSet(recipe.run_dir / "shards" / name / split)
            shards.verify()
            shards.require_tokenizer(tokenizer.fingerprint, tokenizer.vocabulary_size)
            assert shards.num_documents
            assert all(shards.length(n) <= (view.max_document_tokens or 10**9) for n in range(shards.num_documents))
            assert all(shards.is_exact(n) for n in range(shards.num_documents))
            assert shards.kind == ("dialogues" if view.cut == "dialogues" else "documents")


def test_whole_files_are_the_ingested_texts(recipe):
    tokenizer = SentencePieceTokenizer.from_folder(recipe.run_dir / "tokenizer")
    rows = pq.read_table(sorted((recipe.run_dir / "ingest").glob("documents-*.parquet"))).to_pylist()
    texts = {row["document_id"]: row["text"] for row in rows}
    shards = ShardSet(recipe.run_dir / "shards/code_files/train")
    for number in range(shards.num_documents):
        assert tokenizer.decode(shards.ids(number).tolist()) == texts[shards.document_id(number)]


def test_no_repository_and_no_piece_is_on_both_sides(recipe):
    ids = {}
    for split in ("train", "held_out"):
        pieces = pq.read_table(recipe.run_dir / f"shards/code/{split}.parquet").to_pylist()
        ids[split] = {piece["parent_id"] for piece in pieces}
    rows = pq.read_table(sorted((recipe.run_dir / "tag").glob("tags-*.parquet"))).to_pylist()
    repository = {row["document_id"]: row["repository"] for row in rows}
    sides = {split: {repository[parent] for parent in parents} for split, parents in ids.items()}
    assert sides["train"].isdisjoint(sides["held_out"])
    assert artifacts.read_json(recipe.run_dir / "data_report.json")["repositories_divided_by_file"] == []


def test_the_report_tells_the_planted_removals(recipe):
    report = artifacts.read_json(recipe.run_dir / "data_report.json")
    copies = report["removed"]["deduplicate"]["code"]
    assert copies["exact_duplicate"]["documents"] == 1
    assert copies["near_duplicate"]["documents"] == 1
    assert report["clusters"]["clusters"]["sizes"] == {"2": report["clusters"]["clusters"]["count"]}
    (removed,) = report["removed"]["decontaminate"]["code"].values()
    assert [sample["path"] for sample in removed["samples"]] == ["corpus0/logging: logging/planted.py"]
    # The planted file, and its docstring among the natural language.
    assert report["decontamination"]["humaneval"]["documents_by_item"]["HumanEval/10"] == 2
    assert report["removed"]["decontaminate"]["related"]["repeats_benchmark_ngram"]["documents"] == 1
    assert report["removed"]["shards"]["dialogues"]["holds_chat_tag"]["documents"] == 1
    assert set(report["seconds"]) == set(NAMES)
    for stage in ("filter", "deduplicate", "decontaminate", "split"):
        for source, sizes in report["stages"][stage].items():
            gone = sum(counts["documents"] for counts in report["removed"][stage].get(source, {}).values())
            assert sizes["documents_in"] - gone == sizes["documents_out"]


def test_a_second_run_does_nothing(recipe, caplog):
    caplog.set_level(logging.INFO)
    before = bytes_of(recipe.run_dir)
    prepare(recipe)
    assert [record.getMessage() for record in caplog.records] == [f"{name}: up to date" for name in NAMES]
    assert bytes_of(recipe.run_dir) == before


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_same_bytes_and_manifests(recipe, corpus, tmp_path, workers):
    changes = {"decontamination": DECONTAMINATION, "machine": {"workers": workers}}
    other = mini_recipe(tmp_path, corpus, **changes)
    prepare(other)
    assert bytes_of(other.run_dir) == bytes_of(recipe.run_dir)
    assert manifests_of(other.run_dir) == manifests_of(recipe.run_dir)
    assert len(manifests_of(other.run_dir)) == len(NAMES) + 2 * len(recipe.shards)


@pytest.mark.parametrize("stage", ["tag", "deduplicate", "shards"])
def test_a_stage_without_its_manifest_is_done_again_and_no_other(recipe, stage, caplog):
    caplog.set_level(logging.INFO)
    before = bytes_of(recipe.run_dir)
    (recipe.run_dir / stage / "manifest.json").unlink()
    prepare(recipe)
    assert done_in(caplog) == [stage]
    assert bytes_of(recipe.run_dir) == before


def test_a_corrupted_input_is_found_before_it_is_read_and_made_again(recipe, caplog):
    caplog.set_level(logging.INFO)
    before = bytes_of(recipe.run_dir)
    (part, *_) = sorted((recipe.run_dir / "ingest").glob("documents-*.parquet"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    (recipe.run_dir / "shards" / "manifest.json").unlink()
    prepare(recipe)
    assert done_in(caplog) == ["ingest", "shards"]
    assert f"{part} is not the file its manifest describes" in caplog.text
    assert bytes_of(recipe.run_dir) == before


def test_a_truncated_result_is_made_again(recipe, caplog):
    caplog.set_level(logging.INFO)
    before = bytes_of(recipe.run_dir)
    (recipe.run_dir / "shards/code/train/00000.tokens").write_bytes(b"")
    prepare(recipe)
    assert done_in(caplog) == ["shards"]
    assert bytes_of(recipe.run_dir) == before


def test_a_changed_threshold_reads_no_text_again(recipe, caplog):
    caplog.set_level(logging.INFO)
    changed = recipe.model_copy(update={"held_out": recipe.held_out.model_copy(update={"seed": 2})})
    prepare(changed)
    assert done_in(caplog) == ["split", "tokenizer", "shards"]
    prepare(recipe)


@pytest.fixture
def many_files(tmp_path) -> Path:
    """Enough files for several tasks in every stage."""
    folder = tmp_path / "many"
    for number in range(900):
        path = folder / f"repository{number % 30}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / ".git").mkdir(exist_ok=True)
        words = " + ".join(f"name_{number * factor}" for factor in range(2, 30))
        about = " ".join(f"It adds name_{number * factor}." for factor in range(2, 30))
        path.write_text(f'def function_{number}(x):\n    """{about}"""\n    return {words}\n')
    return folder


def test_a_run_killed_within_its_stages_continues_to_the_same_bytes(many_files, tmp_path, project):
    tokenizer = {"vocabulary_size": 340, "sample_megabytes": 1}
    shards = {name: {"source": name, "cut": "files"} for name in ("code", "related")}
    changes = {"tokenizer": tokenizer, "shards": shards, "machine": {"workers": 2}}
    table = recipe_table(tmp_path / "runs", many_files, **changes)
    path = tmp_path / "mini.toml"
    path.write_text(as_toml(DataRecipe.model_validate(table)))
    command = [sys.executable, str(project / "scripts/prepare_data.py"), str(path)]
    run_dir = tmp_path / "runs/mini"
    for stage in ("ingest", "tag", "decontaminate", "shards"):
        with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE) as process:
            receipts = run_dir / f".{stage}.partial" / ".receipts"
            while not any(receipts.rglob("*.json")) and not (run_dir / stage).is_dir():
                assert process.poll() is None, process.stderr and process.stderr.read()
                time.sleep(0.002)
            os.killpg(process.pid, signal.SIGKILL)
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ingest: up to date" in result.stderr
    assert "Token shards" in result.stdout
    whole = DataRecipe.model_validate(table | {"runs": str(tmp_path / "whole")})
    prepare(whole)
    assert bytes_of(run_dir) == bytes_of(whole.run_dir)
    assert manifests_of(run_dir) == manifests_of(whole.run_dir)


def test_one_repository_is_enough(corpus, tmp_path):
    small = recipe_table(tmp_path, corpus / "logging")
    del small["shards"]["related"], small["sources"]["related"]
    small["tokenizer"]["vocabulary_size"] = 380
    report = prepare(DataRecipe.model_validate(small))
    assert report["repositories_divided_by_file"] == ["logging"]
    assert report["shards"]["code"]["held_out"]["documents"]


def test_a_given_tokenizer_is_used_as_it_is(recipe, corpus, tmp_path):
    path = recipe.run_dir / "tokenizer" / "tokenizer.model"
    other = mini_recipe(tmp_path, corpus, decontamination=DECONTAMINATION, tokenizer={"path": str(path)})
    prepare(other)
    assert (other.run_dir / "tokenizer" / "tokenizer.model").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"filters": {"code": {"num_characters": {"below": 1e9}}}},
            "filter leaves none of the .*num_characters below 1e",
        ),
        (
            {"shards": {"code": {"source": "code", "cut": "functions", "max_document_tokens": 1}}},
            "shards.code has no documents on its train side .*over_max_document_tokens",
        ),
        ({"tokenizer": {"path": "/no/such/tokenizer.model"}}, "tokenizer.path = '/no/such/tokenizer.model'"),
    ],
)
def test_a_recipe_that_leaves_nothing_says_what_took_it(corpus, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        prepare(mini_recipe(tmp_path, corpus, **changes))


def test_a_source_without_files_says_why(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "empty.py").touch()
    with pytest.raises(UserError, match=r"sources.code gives no documents \(empty: 1; for example .*empty.py\)"):
        prepare(mini_recipe(tmp_path / "runs", tmp_path / "corpus"))


def test_nothing_is_written_before_the_paths_are_checked(tmp_path):
    with pytest.raises(UserError, match="not a folder"):
        prepare(mini_recipe(tmp_path / "runs", tmp_path / "nowhere"))
    assert not (tmp_path / "runs").exists()


def test_report_is_json_of_plain_values(recipe):
    assert json.loads((recipe.run_dir / "data_report.json").read_text())["recipe"] == "mini"
