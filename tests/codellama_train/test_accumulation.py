"""The gradient of a step is that of its predicted tokens together, however few of them each micro-step has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from launching import train, write_mixed_recipe
from test_train import check_against, reference_run

from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.tokens.batches import LaneBatches, open_mixture
from codellama_train.tokens.rows import IGNORED

STEP_OF_EIGHT = ["batch.tokens_per_step=512", "batch.total_tokens=6_144"]  # sequences of 64, one at a time


@pytest.mark.parametrize(
    ("processes", "stage", "dtype"),
    [
        (1, 2, torch.float32),
        *(
            pytest.param(processes, stage, dtype, marks=pytest.mark.slow)
            for processes in (1, 2)
            for stage in (1, 2, 3)
            for dtype in (torch.bfloat16, torch.float32)
            if (processes, stage, dtype) != (1, 2, torch.float32)
        ),
    ],
)
def test_eight_unequal_micro_steps_equal_one_batch_in_plain_torch(
    processes, stage, dtype, training_data, tokenizer, tmp_path, monkeypatch
):
    if dtype == torch.float32:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    path = write_mixed_recipe(tmp_path, data=training_data, tokenizer=tokenizer)
    overrides = [*STEP_OF_EIGHT, f"machine.zero_stage={stage}"]
    recipe = load(TrainingRecipe, path, overrides)
    predicted = LaneBatches(open_mixture(recipe, tokenizer), rank=0, num_ranks=1).next_step().labels != IGNORED
    assert len(set(np.count_nonzero(predicted, axis=1))) > 3, "micro-steps differ in what they predict"
    train(path, overrides, processes=processes)
    reference = reference_run(recipe, tokenizer, dtype=dtype)
    tolerances = {"loss": 1e-5, "norm": 1e-4} if dtype == torch.float32 else {}
    check_against(reference, tmp_path / "runs/mixed", **tolerances)
