"""A machine that does not compute in bfloat16 trains in float32, and says so once."""

from __future__ import annotations

import pytest
import torch
from launching import read_metrics, relative_distance, train, write_recipe
from safetensors.torch import load_file
from test_train import reference_run

from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe

OFFLOADED = "machine.offload.optimizer=cpu"


@pytest.mark.parametrize(
    ("processes", "overrides"),
    [
        (2, ["machine.zero_stage=2"]),
        pytest.param(1, ["machine.zero_stage=1", OFFLOADED], marks=pytest.mark.slow),
        pytest.param(1, ["machine.zero_stage=2", OFFLOADED], marks=pytest.mark.slow),
        pytest.param(1, ["machine.zero_stage=3", OFFLOADED], marks=pytest.mark.slow),
    ],
)
def test_without_bfloat16_a_run_is_in_float32_and_says_so_once(
    processes, overrides, training_data, tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # the library's own switch to the processors of ten years ago
    recipe = write_recipe(tmp_path / "old.toml", runs=tmp_path / "runs", data=training_data)
    said = train(recipe, overrides, processes=processes)
    assert said.count("training is in float32") == 1
    losses, norms, weights = reference_run(load(TrainingRecipe, recipe), tokenizer, dtype=torch.float32)
    records = read_metrics(tmp_path / "runs/old")
    assert [record["loss"] for record in records] == pytest.approx(
        [sum(losses[start : start + 3]) / 3 for start in range(0, 12, 3)], rel=1e-5
    )
    assert [record["gradient_norm"] for record in records] == pytest.approx(norms[2::3], rel=1e-4)
    assert relative_distance(load_file(tmp_path / "runs/old/final/model.safetensors"), weights[12]) < 5e-3
