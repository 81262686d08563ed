"""Models are built as the recipe says: RoPE base, new rows, precision, tied embeddings."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from codellama_train.console import UserError
from codellama_train.lora import add_adapters
from codellama_train.model import (
    add_rows,
    assert_rope_theta,
    build_model,
    expected_frequencies,
    load_tokenizer,
    restore_rotary_precision,
    rotary_modules,
)
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import Lora, TrainingRecipe

# Expected attention over distance, normalised (figure 9a; d = 1,024): base, distance, value
FIGURE_9A = [(1e4, 16, 0.633), (1e4, 1024, 0.177), (1e4, 16384, -0.090), (1e6, 256, 0.550), (1e6, 100_000, 0.145)]


def small_model(*, tied=False, theta=10_000.0):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
    )
    return LlamaForCausalLM(config)


@pytest.mark.parametrize(("theta", "distance", "value"), FIGURE_9A)
def test_frequencies_give_the_papers_figure(theta, distance, value):
    config = SimpleNamespace(hidden_size=1024, num_attention_heads=1, rope_parameters={"rope_theta": theta})
    angles = distance * expected_frequencies(config).double()
    assert float(angles.cos().mean()) == pytest.approx(value, abs=6e-4)


@pytest.mark.parametrize("tied", [False, True])
def test_new_rows_are_the_mean_of_the_old_ones(tied):
    model = small_model(tied=tied)
    before = [layer.weight.detach().clone() for layer in (model.get_input_embeddings(), model.get_output_embeddings())]
    add_rows(model, 48)
    after = [layer.weight for layer in (model.get_input_embeddings(), model.get_output_embeddings())]
    assert (after[0] is after[1]) == tied
    for old, new in zip(before, after, strict=True):
        assert new.shape == (48, 32)
        torch.testing.assert_close(new[:40], old)
        torch.testing.assert_close(new[40:], old.mean(dim=0).expand(8, 32))


def test_a_tokenizer_smaller_than_the_model_is_refused():
    with pytest.raises(UserError, match="40 embedding rows, more than the 32 ids"):
        add_rows(small_model(), 32)


def test_a_cast_ruins_the_frequencies_and_restoring_mends_them():
    model = small_model(theta=1e6).bfloat16()
    assert rotary_modules(model)[0].inv_freq.dtype == torch.bfloat16, "the trap that restoring is for"
    with pytest.raises(AssertionError):
        assert_rope_theta(model, 1e6)
    restore_rotary_precision(model, model.config)
    assert_rope_theta(model, 1e6)


def test_a_raised_base_reaches_the_loaded_model(model_path, project):
    overrides = [
        f"model.init_from={model_path}",
        "model.rope_theta=1_000_000.0",
        "data.sequence_length=256",
        "batch.tokens_per_step=256",
        "batch.total_tokens=25_600",
        "optimizer.warmup_steps=1",
    ]
    recipe = load(TrainingRecipe, project / "recipes/7b/code.toml", overrides)
    model = build_model(recipe, load_tokenizer(recipe.model))
    assert_rope_theta(model, 1e6)
    assert model.config.max_position_embeddings == 256
    before = LlamaForCausalLM.from_pretrained(model_path)
    torch.testing.assert_close(model.model.layers[0].mlp.up_proj.weight, before.model.layers[0].mlp.up_proj.weight)


def test_adapters_start_the_same_in_every_launch():
    lora = Lora(rank=4, alpha=8, target_modules=["q_proj"])
    first, second, other = (dict(add_adapters(small_model(), lora, seed=seed).named_parameters()) for seed in (1, 1, 2))
    names = [name for name in first if "lora_A" in name]
    assert names
    assert all(torch.equal(first[name], second[name]) for name in names)
    assert not any(torch.equal(first[name], other[name]) for name in names)


def test_adapters_for_layers_that_are_not_there_are_refused():
    with pytest.raises(UserError, match=r"lora\.target_modules names 'c_attn'"):
        add_adapters(small_model(), Lora(rank=4, alpha=8, target_modules=["c_attn"]), seed=1)


def test_a_model_of_another_kind_is_refused(tmp_path, tokenizer, project):
    tokenizer.save(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    recipe = load(TrainingRecipe, project / "recipes/7b/code.toml", [f"model.init_from={tmp_path}"])
    with pytest.raises(UserError, match="'gpt2' model; the recipe trains Llama models"):
        build_model(recipe, tokenizer)
