"""`train.py` refuses in one sentence, with exit code 2, before anything is written."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from launching import write_recipe

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import claim, examine, lock
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer, parse_model


@pytest.fixture
def recipe(tmp_path, training_data):
    return write_recipe(tmp_path / "mini.toml", runs=tmp_path / "runs", data=training_data)


def refusal(project, *arguments):
    result = subprocess.run(
        [sys.executable, "scripts/train.py", *map(str, arguments)],
        cwd=project,
        check=False,
        capture_output=True,
        text=True,
    )
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.returncode == 2, result.stderr
    assert len(errors) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return errors[0]


def test_unknown_key(project, recipe):
    assert "did you mean 'data.sequence_length'?" in refusal(project, recipe, "data.sequence_lenght=64")


def test_value_out_of_range(project, recipe):
    assert "machine.zero_stage = 7" in refusal(project, recipe, "machine.zero_stage=7")


def test_kernels_that_this_machine_lacks(project, recipe, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    message = refusal(project, recipe, "machine.kernels=liger")
    assert "machine.kernels='liger' needs a GPU, and there is none here" in message


def test_missing_base_of_the_same_family(project, recipe, tmp_path):
    text = recipe.read_text()
    recipe.write_text(text[: text.index("[model.architecture]")] + text[text.index("[data]\n") :])
    message = refusal(project, recipe, f"model.init_from={tmp_path}/runs/base/final")
    assert "does not exist yet: train base first" in message


def test_missing_base_elsewhere(project, recipe):
    text = recipe.read_text()
    recipe.write_text(text[: text.index("[model.architecture]")] + text[text.index("[data]\n") :])
    message = refusal(project, recipe, "model.init_from=./no/such/model")
    assert "neither a folder nor a model that the hub gives" in message


def test_missing_shards(project, recipe):
    message = refusal(project, recipe, "data.sources.code.shards=/nowhere")
    assert "there are no finished shards at /nowhere" in message


def test_shards_of_another_tokenizer(project, recipe, training_data, tmp_path):
    shards = tmp_path / "shards"
    shutil.copytree(training_data / "shards/code/train", shards)
    manifest = artifacts.read_json(shards / "manifest.json")
    del manifest["checksum"]
    artifacts.write_json(shards / "manifest.json", {**manifest, "tokenizer": "0" * 64})
    message = refusal(project, recipe, f"data.sources.code.shards={shards}")
    assert "were written with tokenizer 000000000000" in message


def test_damaged_shards(project, recipe, training_data, tmp_path):
    shards = tmp_path / "shards"
    shutil.copytree(training_data / "shards/code/train", shards)
    tokens = bytearray((shards / "00000.tokens").read_bytes())
    tokens[10] ^= 1
    (shards / "00000.tokens").write_bytes(tokens)
    message = refusal(project, recipe, f"data.sources.code.shards={shards}")
    assert "00000.tokens is not the file its manifest describes" in message


def test_sequence_beyond_the_base(project, recipe, model_path):
    text = recipe.read_text()
    recipe.write_text(text[: text.index("[model.architecture]")] + text[text.index("[data]\n") :])
    message = refusal(project, recipe, f"model.init_from={model_path}", "data.sequence_length=128")
    assert "beyond the 64 positions" in message
    assert "raise model.rope_theta above 10,000" in message


def test_run_folder_of_another_recipe(project, recipe):
    claim(load(TrainingRecipe, recipe), launch={})
    message = refusal(project, recipe, "optimizer.peak_learning_rate=0.5")
    assert "another recipe: optimizer.peak_learning_rate is 0.01 there and 0.5 here" in message


def test_run_folder_of_other_data(project, recipe, training_data, tmp_path):
    shards = tmp_path / "shards"
    shutil.copytree(training_data / "shards/code/train", shards)
    override = f"data.sources.code.shards={shards}"
    claim(load(TrainingRecipe, recipe, [override]), launch={})
    manifest = artifacts.read_json(shards / "manifest.json")
    artifacts.write_manifest(shards, {**manifest, "note": "prepared again"})
    assert "something that has changed since: data.sources.code.shards" in refusal(project, recipe, override)


def test_a_run_folder_takes_one_launch_at_a_time(tmp_path):
    held = lock(tmp_path)
    with pytest.raises(UserError, match="another launch is training"):
        lock(tmp_path)
    held.close()
    lock(tmp_path).close()


def test_the_runs_folder_may_be_moved(recipe, training_data, tmp_path):
    shards = tmp_path / "runs/shards"
    shutil.copytree(training_data / "shards/code/train", shards)
    recipe.write_text(recipe.read_text().replace(f"{training_data}/shards/code/train", "{runs}/shards"))
    claim(load(TrainingRecipe, recipe), launch={})
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert examine(load(TrainingRecipe, recipe, [f"runs={tmp_path}/moved"])) == "started"


def test_machine_settings_may_change(recipe):
    claim(load(TrainingRecipe, recipe), launch={})
    changed = load(TrainingRecipe, recipe, ["machine.zero_stage=3"])
    claim(changed, launch={})
    assert "zero_stage = 3" in (changed.run_dir / "recipe.toml").read_text()
    assert len(artifacts.read_json(changed.run_dir / "source.json")["launches"]) == 2


def test_a_tokenizer_that_cannot_be_exported_is_refused_before_training(project, recipe, tmp_path, training_data):
    model = parse_model((training_data / "tokenizer/tokenizer.model").read_bytes())
    model.normalizer_spec.add_dummy_prefix = False
    tokenizer = SentencePieceTokenizer(model.SerializeToString())
    tokenizer.save(tmp_path / "tokenizer")
    message = refusal(project, recipe, f"model.tokenizer={tmp_path}/tokenizer")
    assert "only a SentencePiece model of Llama's kind can be exported" in message
    assert not (tmp_path / "runs").exists()
