"""One step of the real engine on a GPU against plain torch there; skipped aloud where there is none."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from launching import write_recipe
from torch.nn import functional

from codellama_train.distributed import start_processes
from codellama_train.engine import start_engine
from codellama_train.loss import TrainingModel
from codellama_train.model import build_model, restore_rotary_precision
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.tokens.open_tokenizer import open_tokenizer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def one_step(recipe_path: Path, *overrides: str) -> None:
    """Make one update through the engine and one in plain torch, and compare loss, gradient norm and weights."""
    recipe = load(TrainingRecipe, recipe_path, overrides)
    processes = start_processes()
    model = build_model(recipe, open_tokenizer(Path(str(recipe.model.tokenizer))))
    plain = copy.deepcopy(model).to(processes.device).bfloat16()
    restore_rotary_precision(plain, plain.config)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(400, (1, recipe.data.sequence_length), generator=generator).to(processes.device)
    engine = start_engine(TrainingModel(model), model.config, recipe=recipe, processes=processes)
    loss, _ = engine(ids, ids)
    engine.backward(loss / ids.numel(), scale_wrt_gas=False)
    engine.step()
    expected = functional.cross_entropy(plain(ids).logits.float().flatten(0, 1), ids.flatten())
    expected.backward()
    norm = torch.cat([weight.grad.float().flatten() for weight in plain.parameters()]).norm()
    torch.testing.assert_close(loss / ids.numel(), expected, rtol=2e-3, atol=0)
    torch.testing.assert_close(float(engine.get_global_grad_norm()), float(norm), rtol=2e-2, atol=0)
    settings = recipe.optimizer
    for trained, weight in zip(model.parameters(), plain.parameters(), strict=True):
        # AdamW's first update is the rate times the gradient's sign; rounding may turn the sign of the smallest.
        clipped = weight.grad.float() * min(1.0, settings.gradient_clipping / float(norm))
        decay = 1 - settings.peak_learning_rate * (settings.weight_decay if weight.dim() >= 2 else 0)
        update = settings.peak_learning_rate * clipped / (clipped.abs() + settings.epsilon)
        distance = trained.float() - (weight.float() * decay - update)
        assert distance.abs().mean() < 0.05 * settings.peak_learning_rate + 2**-8 * weight.abs().mean()


@pytest.mark.parametrize("stage", [1, 2])
def test_a_step_of_the_engine_equals_plain_torch(stage, tmp_path, training_data):
    recipe = write_recipe(tmp_path / "step.toml", runs=tmp_path / "runs", data=training_data)
    overrides = ("batch.tokens_per_step=64", "machine.activation_checkpointing=true", f"machine.zero_stage={stage}")
    # In a process of its own: two engines of one process would share its group of ranks.
    program = f"from test_gpu import one_step; from pathlib import Path; one_step(Path({str(recipe)!r}), *{overrides})"
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": paths})
