"""evaluate.py as a person runs it: what it writes, what it skips, what it refuses."""

from __future__ import annotations

import importlib
import json
import logging
import shutil
import subprocess
import sys

import pytest

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.evaluation.held_out import HeldOut
from codellama_train.evaluation.run import PROBES, evaluate
from codellama_train.evaluation.targets import model_identity, targets
from codellama_train.recipe.evaluation import EvaluationRecipe
from codellama_train.recipe.loading import as_toml, load


@pytest.fixture
def run_folder(tmp_path, model_path):
    shutil.copytree(model_path, tmp_path / "runs/code/final")
    return tmp_path / "runs/code"


@pytest.fixture
def target(run_folder):
    return targets([run_folder], None)[0]


def item_times(run_folder):
    return {path.name: path.stat().st_mtime_ns for path in run_folder.glob("scores/*.json")}


def test_scores_name_everything_they_depend_on(recipe, target, run_folder, data_folder):
    scores = evaluate(recipe, target)
    assert scores == json.loads((run_folder / "scores.json").read_text())
    assert scores["model"] == artifacts.sha256_of(run_folder / "final/manifest.json")
    code = data_folder / "shards/code/held_out"
    assert scores["held_out"]["code"] == artifacts.manifest_fingerprint(code)
    assert (scores["seed"], scores["bootstrap_resamples"]) == (3, 200)
    for probe in PROBES:
        assert probe.name in scores
        assert scores["probes"][probe.name]["engine"]["dtype"] == "float32"
        stored = json.loads((run_folder / f"scores/{probe.name}.json").read_text())
        assert stored["summary"] == scores[probe.name]
        assert stored["items"]


def test_what_is_up_to_date_is_skipped_and_said_so(recipe, target, run_folder, caplog):
    first = evaluate(recipe, target)
    times = item_times(run_folder)
    with caplog.at_level(logging.INFO):
        assert evaluate(recipe, target) == first
    assert item_times(run_folder) == times
    assert "up to date" in caplog.text

    other = recipe.model_copy(update={"samples": recipe.samples.model_copy(update={"items": 1})})
    evaluate(other, target)
    changed = {name for name, when in item_times(run_folder).items() if when != times[name]}
    assert changed == {"samples.json"}, "an edit re-measures what it concerns and nothing else"


def test_probes_for_named_runs_are_left_out_for_others(recipe, target):
    positions = recipe.positions.model_copy(update={"only_runs": ["long_context"]})
    samples_and_positions = dict.fromkeys(("loss", "infilling", "key_retrieval")) | {"positions": positions}
    assert set(evaluate(recipe.model_copy(update=samples_and_positions), target)["probes"]) == {"samples"}
    samples_and_positions["positions"] = positions.model_copy(update={"only_runs": ["long_context", "code"]})
    assert set(evaluate(recipe.model_copy(update=samples_and_positions), target)["probes"]) == {"positions", "samples"}


def test_another_model_in_the_same_place_is_measured_anew(recipe, target, run_folder):
    only_loss = recipe.model_copy(update=dict.fromkeys(("infilling", "positions", "key_retrieval", "samples")))
    before = evaluate(only_loss, target)
    artifacts.write_manifest(run_folder / "final", {"kind": "another"})
    after = evaluate(only_loss, target)
    assert before["model"] != after["model"]
    assert before["probes"]["loss"]["fingerprint"] != after["probes"]["loss"]["fingerprint"]
    assert before["loss"] == after["loss"]


def test_a_killed_evaluation_continues_with_the_probes_it_lacks(recipe, target, run_folder):
    whole = evaluate(recipe, target)
    times = item_times(run_folder)
    (run_folder / "scores.json").unlink()
    (run_folder / "scores/positions.json").unlink()
    again = evaluate(recipe, target)
    assert {name for name, when in item_times(run_folder).items() if when != times[name]} == {"positions.json"}
    assert again["positions"] == whole["positions"]


def test_a_model_without_a_manifest_is_named_by_its_bytes(tmp_path, model_path):
    copy = shutil.copytree(model_path, tmp_path / "model")
    (copy / "manifest.json").unlink()
    first = model_identity(copy)
    (copy / "tokenizer.model").write_bytes((copy / "tokenizer.model").read_bytes() + b"\n")
    assert model_identity(copy) != first


def test_scores_go_into_the_run_or_to_the_output(tmp_path, run_folder, model_path):
    assert targets([run_folder], None)[0].scores == run_folder
    assert targets([run_folder / "final"], None)[0].scores == run_folder
    assert targets([model_path], tmp_path / "out")[0].scores == tmp_path / "out/random"
    with pytest.raises(UserError, match="with --output"):
        targets([model_path], None)
    with pytest.raises(UserError, match="name each once"):
        targets([run_folder, run_folder / "final"], None)


def test_shards_of_another_tokenizer_are_refused(tmp_path, recipe, target, data_folder):
    copy = shutil.copytree(data_folder, tmp_path / "data")
    manifest = copy / "shards/code/held_out/manifest.json"
    stored = json.loads(manifest.read_text()) | {"tokenizer": "0" * 64}
    del stored["checksum"]
    manifest.write_text(json.dumps(stored))
    with pytest.raises(UserError, match="were written with tokenizer 000000000000"):
        evaluate(recipe.model_copy(update={"data": copy}), target)


def test_a_source_that_the_data_lacks_is_named_with_those_there_are(tmp_path, recipe, target, tokenizer):
    loss = recipe.loss.model_copy(update={"documents": {"java": 4}})
    with pytest.raises(UserError, match=r"'java' has no held-out shards .* there are code, code_files, dialogues"):
        evaluate(recipe.model_copy(update={"loss": loss}), target)
    with pytest.raises(UserError, match="writes them"):
        HeldOut(tmp_path, tokenizer).shards("code")


def test_recipe_refuses_more_generated_items_than_items(project):
    with pytest.raises(UserError, match=r"must be at most infilling.items=8"):
        load(EvaluationRecipe, project / "recipes/tiny/evaluation.toml", ["infilling.items=8"])


def test_shipped_recipe_loads_and_points_at_the_families_data(project):
    recipe = load(EvaluationRecipe, project / "recipes/tiny/evaluation.toml", ["runs=elsewhere"])
    assert str(recipe.data) == "elsewhere/data/tiny"
    assert recipe.bootstrap_resamples >= 1000


def test_evaluate_py_scores_several_models_in_one_process(project, tmp_path, recipe, run_folder, model_path):
    path = tmp_path / "evaluation.toml"
    path.write_text(as_toml(recipe.model_copy(update={"samples": None, "key_retrieval": None})))
    arguments = [path, run_folder, model_path, "--output", tmp_path / "out", "loss.documents.code=4"]
    command = [sys.executable, str(project / "scripts/evaluate.py"), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    scores = [json.loads((folder / "scores.json").read_text()) for folder in (run_folder, tmp_path / "out/random")]
    assert scores[0]["loss"] == scores[1]["loss"]
    assert scores[0]["loss"]["code"]["documents"] == 4
    assert set(scores[0]) >= {"loss", "positions"}
    assert f"{scores[0]['loss']['code']['nats_per_token']['value']:.3f}" in result.stdout
    for each in scores[0]["infilling"]["single_line"]["nats_per_byte"].values():
        assert f"{each['value']:.3f}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{recipe}"], "no model is named"),
        (["{recipe}", "{missing}"], "there is no model at"),
        (["{recipe}", "{run}", "loss.document.code=4"], "did you mean 'loss.documents'"),
        (["{missing}", "{run}"], "there is no recipe at"),
    ],
)
def test_evaluate_py_refuses_in_one_sentence(project, tmp_path, run_folder, monkeypatch, arguments, message):
    monkeypatch.syspath_prepend(str(project / "scripts"))
    names = {"recipe": project / "recipes/tiny/evaluation.toml", "missing": tmp_path / "missing", "run": run_folder}
    script = importlib.import_module("evaluate")
    with pytest.raises(UserError, match=message):
        script.main([text.format(**names) for text in arguments] + (["seed=1"] if len(arguments) == 1 else []))
