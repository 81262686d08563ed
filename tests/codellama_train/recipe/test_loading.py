"""Recipes are read strictly, and a mistake is told in one sentence."""

from __future__ import annotations

import pytest

from codellama_train.console import UserError
from codellama_train.recipe.loading import as_toml, load, recipe_name
from codellama_train.recipe.training import TrainingRecipe, sequences_per_rank

MISTAKES = {
    "batch.tokens_per_stp=1": "unknown recipe key 'batch.tokens_per_stp'; did you mean 'batch.tokens_per_step'?",
    "data.sources.code.shar=1": "did you mean 'data.sources.code.share'?",
    "optimiser.betas=[0,0]": "did you mean 'optimizer'?",
    "data.infilling.rate=1.5": "data.infilling.rate = 1.5: Input should be less than or equal to 1",
    "machine.zero_stage=0": "machine.zero_stage = 0: Input should be 1, 2 or 3",
    "machine.save_every_steps=often": "machine.save_every_steps = 'often': Input should be a valid integer",
    "batch.tokens_per_step=4194305": "not a multiple of data.sequence_length=4,096; the nearest is 4,194,304",
    "batch.total_tokens=100": "less than half a step",
    "optimizer.warmup_steps=200000": "must be below the 119,209 steps",
    "data.sources.code.share=0.5": "the shares sum to 0.65",
    "model.rope_theta*=many": "'model.rope_theta*=many' multiplies 10000.0 by 'many'; both must be numbers",
    "batch.total_tokenz*=2": "'batch.total_tokenz*=2' multiplies None by 2; both must be numbers",
    "model.architecture.hidden_size=8": "must be a multiple of num_attention_heads=32",
    "lora.rank=8": "recipe key 'lora.alpha' is missing",
    "nonsense": "write key=value",
    "batch.tokens_per_step.of=1": "'tokens_per_step' is a value, not a table",
}


@pytest.mark.parametrize("override", MISTAKES)
def test_a_mistake_is_named_with_its_remedy(project, override):
    with pytest.raises(UserError) as caught:
        load(TrainingRecipe, project / "recipes/7b/code.toml", [override])
    assert MISTAKES[override] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_and_a_broken_file_are_named(tmp_path):
    with pytest.raises(UserError, match="there is no recipe"):
        load(TrainingRecipe, tmp_path / "x.toml")
    (tmp_path / "x.toml").write_text("[model")
    with pytest.raises(UserError, match="not a TOML file"):
        load(TrainingRecipe, tmp_path / "x.toml")


def test_a_base_or_an_architecture(project, tmp_path):
    without = tmp_path / "without.toml"
    text = (project / "recipes/tiny/base.toml").read_text()
    without.write_text(text[: text.index("[model.architecture]")] + text[text.index("[data]\n") :])
    with pytest.raises(UserError, match=r"init_from .* or \[model\.architecture\]"):
        load(TrainingRecipe, without)


def test_random_weights_need_a_spread_and_a_base_has_its_own(project, tmp_path):
    base = project / "recipes/tiny/base.toml"
    with pytest.raises(UserError, match=r"initializer_range=.* is used by nothing"):
        load(TrainingRecipe, base, ["model.init_from=x"])
    without = tmp_path / "without.toml"
    without.write_text("".join(line for line in base.open() if not line.startswith("initializer_range")))
    with pytest.raises(UserError, match="initializer_range is missing"):
        load(TrainingRecipe, without)


@pytest.mark.parametrize(
    ("override", "tokens"),
    [("batch.total_tokens*=20", 10_000_000_000_000), ("batch.total_tokens*=0.07", 35_000_000_000)],
)
def test_an_override_may_multiply_a_number(project, override, tokens):
    assert load(TrainingRecipe, project / "recipes/7b/code.toml", [override]).batch.total_tokens == tokens


def test_an_override_without_a_value_takes_the_key_out(project):
    path = project / "recipes/7b/code.toml"
    tiled = ["machine.mlp_tile_tokens=1024", "machine.offload.optimizer=cpu"]
    machine = load(TrainingRecipe, path, [*tiled, "machine.mlp_tile_tokens=", "machine.offload="]).machine
    assert machine == load(TrainingRecipe, path).machine
    with pytest.raises(UserError, match=r"'machine\.zero_stage' is missing"):
        load(TrainingRecipe, path, ["machine.zero_stage="])


def test_overrides_are_toml_and_else_text(project):
    overrides = ["machine.zero_stage=3", "model.init_from=/some/where", "runs=elsewhere"]
    recipe = load(TrainingRecipe, project / "recipes/7b/code.toml", overrides)
    assert recipe.machine.zero_stage == 3
    assert recipe.model.init_from == "/some/where"
    assert str(recipe.run_dir) == "elsewhere/7b/code"
    assert str(recipe.data.sources["code"].shards) == "elsewhere/data/code/shards/code/train"


def test_a_resolved_recipe_loads_to_itself(project, tmp_path):
    for path in sorted((project / "recipes").glob("*b/*.toml")):
        recipe = load(TrainingRecipe, path)
        copy = tmp_path / "recipes" / path.relative_to(project / "recipes")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(as_toml(recipe))
        assert load(TrainingRecipe, copy) == recipe


def test_a_recipe_is_named_by_its_place(tmp_path):
    assert recipe_name(tmp_path / "recipes/7b/code.toml") == "7b/code"
    assert recipe_name(tmp_path / "mine.toml") == "mine"


def test_ranks_that_do_not_divide_the_batch_run_padded_rows():
    assert sequences_per_rank(1024, 64) == 16
    assert sequences_per_rank(1024, 60) == 18
    with pytest.raises(UserError, match="3 devices do not divide the 4 sequences"):
        sequences_per_rank(4, 3)
