"""The shipped recipes against the paper, number by number; what it leaves open is checked against the listed choice."""

from __future__ import annotations

import pytest

from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe

# recipe: peak rate, tokens per step, steps, context, RoPE base, infilling rate, starts from
PAPER = {
    "7b/code": (3e-4, 4_194_304, 119_209, 4_096, 1e4, 0.9, "meta-llama/Llama-2-7b-hf"),  # sections 2.1 to 2.3
    "7b/code_without_infilling": (3e-4, 4_194_304, 119_209, 4_096, 1e4, None, "meta-llama/Llama-2-7b-hf"),
    "7b/python": (1e-4, 4_194_304, 23_842, 4_096, 1e4, None, "runs/7b/code_without_infilling/final"),  # section 2.3
    "7b/long_context": (2e-5, 2_097_152, 3_000, 16_384, 1e6, 0.9, "runs/7b/code/final"),  # section 2.4
    "7b/python_long_context": (2e-5, 2_097_152, 10_000, 16_384, 1e6, None, "runs/7b/python/final"),  # section 2.4
    "7b/instruct": (2e-5, 524_288, 9_537, 16_384, 1e6, None, "runs/7b/long_context/final"),  # section 2.5
}

CODE_MIX = {"code": 0.85, "related": 0.08, "language": 0.07}
PYTHON_MIX = {"python": 0.75, "code": 0.10, "related": 0.10, "language": 0.05}
MIXTURES = {  # table 1; long context: choice 18
    **dict.fromkeys(("code", "code_without_infilling", "long_context"), CODE_MIX),
    **dict.fromkeys(("python", "python_long_context"), PYTHON_MIX),
}


def shipped(project, name):
    return load(TrainingRecipe, project / f"recipes/{name}.toml")


@pytest.mark.parametrize("name", PAPER)
def test_recipe_has_the_papers_numbers(project, name):
    recipe = shipped(project, name)
    infilling = recipe.data.infilling.rate if recipe.data.infilling else None
    numbers = (
        recipe.optimizer.peak_learning_rate,
        recipe.batch.tokens_per_step,
        recipe.steps,
        recipe.data.sequence_length,
        recipe.model.rope_theta,
        infilling,
        recipe.model.init_from,
    )
    assert numbers == PAPER[name]


@pytest.mark.parametrize("name", PAPER)
def test_recipe_has_the_papers_optimizer(project, name):
    optimizer = shipped(project, name).optimizer
    assert optimizer.betas == (0.9, 0.95), "section 2.3"
    assert (optimizer.epsilon, optimizer.weight_decay, optimizer.gradient_clipping) == (1e-5, 0.1, 1.0), "choice 1"
    final, warmup = {
        "7b/instruct": (0.1, 100),  # choice 23
        "7b/long_context": (1 / 30, 20),  # choice 17
        "7b/python_long_context": (1 / 30, 20),  # choice 17
    }.get(name, (1 / 30, 1_000))  # section 2.3, choice 6
    assert optimizer.final_learning_rate_fraction == pytest.approx(final)
    assert optimizer.warmup_steps == warmup


@pytest.mark.parametrize("stage", MIXTURES)
def test_mixture_is_table_1(project, stage):
    check_mixture(project, f"7b/{stage}", stage)


@pytest.mark.parametrize("stage", [stage for stage in MIXTURES if stage != "python_long_context"])
def test_mixture_of_the_tiny_family_is_table_1(project, stage):
    check_mixture(project, f"tiny/{stage}", stage)


def check_mixture(project, name, stage):
    sources = shipped(project, name).data.sources
    shares = {name.removesuffix("_files"): source.share for name, source in sources.items()}
    assert shares == MIXTURES[stage]


@pytest.mark.parametrize("family", ["7b", "tiny"])
def test_instruction_tuning_rehearses_code_and_language(project, family):
    sources = shipped(project, f"{family}/instruct").data.sources
    assert (sources["code"].share, sources["language"].share) == (0.06, 0.02), "section 2.5"


def test_every_stage_starts_from_the_model_before_it(project):
    for path in sorted((project / "recipes").glob("*/*.toml")):
        if path.parent.name == "data" or path.stem == "evaluation":
            continue
        recipe = load(TrainingRecipe, path)
        origin = recipe.model.init_from or ""
        if origin.startswith("runs/"):
            parent = shipped(project, origin.removeprefix("runs/").removesuffix("/final"))
            assert parent.model.rope_theta <= recipe.model.rope_theta, path
            grows = recipe.data.sequence_length > parent.data.sequence_length
            assert not grows or recipe.model.rope_theta > parent.model.rope_theta, path
