"""The learning rate against the paper's own numbers."""

from __future__ import annotations

import pytest

from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.schedule import learning_rate


def test_code_stage_warms_up_to_the_peak_and_ends_at_a_thirtieth(project):
    recipe = load(TrainingRecipe, project / "recipes/7b/code.toml")
    rates = [learning_rate(step, recipe.optimizer, steps=recipe.steps) for step in (1, 500, 1000, recipe.steps)]
    assert rates == pytest.approx([3e-7, 1.5e-4, 3e-4, 1e-5])


def test_decay_is_a_half_cosine(project):
    recipe = load(TrainingRecipe, project / "recipes/7b/code.toml")
    middle = recipe.optimizer.warmup_steps + (recipe.steps - recipe.optimizer.warmup_steps) / 2
    assert learning_rate(middle, recipe.optimizer, steps=recipe.steps) == pytest.approx((3e-4 + 1e-5) / 2)


def test_long_context_starts_from_a_tenth_of_the_peak(project):
    recipe = load(TrainingRecipe, project / "recipes/7b/long_context.toml")
    first = learning_rate(1, recipe.optimizer, steps=recipe.steps)
    assert first == pytest.approx(2e-5 * (0.1 + 0.9 / 20))
    assert learning_rate(20, recipe.optimizer, steps=recipe.steps) == pytest.approx(2e-5)


def test_without_warmup_the_first_step_is_near_the_peak(project):
    recipe = load(TrainingRecipe, project / "recipes/7b/code.toml", ["optimizer.warmup_steps=0"])
    assert learning_rate(1, recipe.optimizer, steps=recipe.steps) == pytest.approx(3e-4, rel=1e-6)
