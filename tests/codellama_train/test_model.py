"""Models are built as the recipe says: RoPE base, new rows, precision, tied embeddings."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from byte_level_worlds import write_byte_level
from huggingface_hub.utils import filter_repo_objects
from transformers import LlamaConfig, LlamaForCausalLM

from codellama_train.console import UserError
from codellama_train.lora import add_adapters
from codellama_train.model import (
    NEEDED_FILES,
    UNNEEDED_FILES,
    add_rows,
    assert_rope_theta,
    build_model,
    expected_frequencies,
    load_tokenizer,
    named_ids,
    require_matching_rows,
    restore_rotary_precision,
    rotary_modules,
)
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import Lora, TrainingRecipe
from codellama_train.tokens.hugging_face import write_fast_tokenizer
from codellama_train.tokens.open_tokenizer import open_tokenizer

# Expected attention over distance, normalised (figure 9a; d = 1,024): base, distance, value
FIGURE_9A = [(1e4, 16, 0.633), (1e4, 1024, 0.177), (1e4, 16384, -0.090), (1e6, 256, 0.550), (1e6, 100_000, 0.145)]


def small_model(*, rows=40, tied=False, theta=10_000.0):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=rows,
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


def embeddings(model):
    return [layer.weight for layer in (model.get_input_embeddings(), model.get_output_embeddings())]


# The tokenizer has 420 ids of its own, 436 with the infilling tokens, and 448 rows.
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("rows", "used", "fresh", "after"),
    [
        (420, 420, range(420, 448), 448),  # a base as long as its vocabulary
        (420, None, range(420, 448), 448),  # whose files do not say how long that is
        (424, 420, range(420, 448), 448),  # padded by less than the infilling tokens
        (424, None, range(424, 448), 448),
        (448, 420, range(420, 436), 448),  # padded to the very length
        (448, 436, range(0), 448),  # an export of ours
        (448, None, range(0), 448),
        (512, 420, range(420, 436), 512),  # padded by more
        (512, 436, range(0), 512),  # an export of ours, of such a base
        (420, 421, range(420, 448), 448),  # its tokenizer names a token that it has no row for
        (401, 420, range(401, 448), 448),
    ],
)
def test_rows_of_new_ids_are_the_mean_of_the_used_ones(tied, rows, used, fresh, after, tokenizer):
    model = small_model(rows=rows, tied=tied)
    before = [weight.detach().clone() for weight in embeddings(model)]
    add_rows(model, tokenizer, used_rows=used)
    assert (embeddings(model)[0] is embeddings(model)[1]) == tied
    assert model.config.vocab_size == after
    for old, new in zip(before, embeddings(model), strict=True):
        assert new.shape == (after, 32)
        mean = old[: used or rows].mean(dim=0)
        for row in range(after):
            torch.testing.assert_close(new[row], mean if row in fresh else old[row])


@pytest.mark.parametrize(("rows", "is_refused"), [(321, False), (320, True), (575, False), (576, True)])
def test_a_tokenizer_of_another_model_is_refused(rows, is_refused, tokenizer):
    model = small_model(rows=rows)
    if not is_refused:
        add_rows(model, tokenizer, used_rows=None)
        return
    with pytest.raises(
        UserError, match=rf"the base has {rows} embedding rows, but its tokenizer 448 ids; more than 127"
    ):
        add_rows(model, tokenizer, used_rows=None)


@pytest.mark.parametrize(
    ("rows", "vocabulary_size"), [(32_256, 32_032), (151_936, 151_680), (129_280, 128_832), (51_200, 50_304)]
)
def test_bases_of_today_may_be_padded_as_they_are(rows, vocabulary_size):
    require_matching_rows("the base", rows=rows, vocabulary_size=vocabulary_size)


@pytest.mark.parametrize(("rows", "vocabulary_size"), [(32_768, 32_016), (32_000, 32_784), (128_256, 32_016)])
def test_vocabularies_that_are_easily_mixed_up_are_told_apart(rows, vocabulary_size):
    with pytest.raises(UserError, match=f"has {rows:,} embedding rows, but its tokenizer {vocabulary_size:,} ids"):
        require_matching_rows("the base", rows=rows, vocabulary_size=vocabulary_size)


def test_a_folders_own_files_say_how_many_ids_it_has(tokenizer, tmp_path):
    assert named_ids(tmp_path) is None
    tokenizer.save(tmp_path)
    assert named_ids(tmp_path) is None, "a tokenizer.model is the base's, also in an export"
    write_fast_tokenizer(tokenizer, tmp_path)
    assert named_ids(tmp_path) == 436
    (tmp_path / "tokenizer.json").write_text("{}")
    assert named_ids(tmp_path) is None
    base = open_tokenizer(write_byte_level(tmp_path / "base", "llama3"))
    assert named_ids(tmp_path / "base") == base.sentinels.prefix
    base.save(tmp_path / "export")
    assert named_ids(tmp_path / "export") == base.step_id + 1


def test_the_weights_in_the_authors_own_layout_are_not_downloaded():
    files = [
        "config.json",
        "model-1.safetensors",
        "tokenizer.json",
        "original/tokenizer.model",
        "consolidated.safetensors",
    ]
    kept = filter_repo_objects(files, allow_patterns=NEEDED_FILES, ignore_patterns=UNNEEDED_FILES)
    assert list(kept) == ["config.json", "model-1.safetensors", "tokenizer.json"]


def test_a_cast_ruins_the_frequencies_and_restoring_mends_them():
    model = small_model(theta=1e6).bfloat16()
    assert rotary_modules(model)[0].inv_freq.dtype == torch.bfloat16, "the trap that restoring is for"
    with pytest.raises(AssertionError):
        assert_rope_theta(model, 1e6)
    restore_rotary_precision(model, model.config)
    assert_rope_theta(model, 1e6)


def test_a_raised_base_reaches_the_loaded_model(model_path, project, caplog):
    overrides = [
        f"model.init_from={model_path}",
        "model.rope_theta=1_000_000.0",
        "data.sequence_length=256",
        "batch.tokens_per_step=256",
        "batch.total_tokens=25_600",
        "optimizer.warmup_steps=1",
    ]
    recipe = load(TrainingRecipe, project / "recipes/tiny/code.toml", overrides)
    model = build_model(recipe, load_tokenizer(recipe.model))
    assert_rope_theta(model, 1e6)
    assert "model.rope_theta=1e+06 replaces the base's 10000" in caplog.text
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
    for name in ("c_attn", "embed_tokens"):
        with pytest.raises(UserError, match=rf"lora\.target_modules names '{name}'.*it has down_proj, gate_proj"):
            add_adapters(small_model(), Lora(rank=4, alpha=8, target_modules=[name]), seed=1)


def test_a_model_of_another_kind_is_refused(tmp_path, tokenizer, project):
    tokenizer.save(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    recipe = load(TrainingRecipe, project / "recipes/tiny/code.toml", [f"model.init_from={tmp_path}"])
    with pytest.raises(UserError, match="'gpt2' model; the recipe trains Llama models"):
        build_model(recipe, tokenizer)


LLAMA_3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


@pytest.mark.parametrize("scaling", [{"rope_type": "linear", "factor": 4.0}, LLAMA_3])
def test_a_bases_fixed_scaling_is_kept(scaling, tokenizer, tmp_path, project):
    base = small_model(rows=tokenizer.vocabulary_size)
    base.config.rope_parameters = {**scaling, "rope_theta": 10_000.0}
    base.config.max_position_embeddings = 64
    base.save_pretrained(tmp_path)
    overrides = [f"model.init_from={tmp_path}", "data.sequence_length=64"]
    model = build_model(load(TrainingRecipe, project / "recipes/tiny/code.toml", overrides), tokenizer)
    frequencies = rotary_modules(model)[0].inv_freq.clone()
    plain = expected_frequencies(small_model().config)
    assert float((frequencies / plain).min()) == pytest.approx(1 / scaling["factor"], rel=1e-3)
    model = model.bfloat16()
    restore_rotary_precision(model, model.config)
    torch.testing.assert_close(rotary_modules(model)[0].inv_freq, frequencies, rtol=0, atol=0)
    assert_rope_theta(model, 10_000.0)


def test_a_scaling_that_depends_on_the_sequence_is_refused(tokenizer, tmp_path, project):
    base = small_model(rows=tokenizer.vocabulary_size)
    base.config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    base.save_pretrained(tmp_path)
    overrides = [f"model.init_from={tmp_path}"]
    with pytest.raises(UserError, match="scales RoPE by 'dynamic'; a base has plain frequencies or a fixed scaling"):
        build_model(load(TrainingRecipe, project / "recipes/tiny/code.toml", overrides), tokenizer)


SHAPE = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
SHAPE |= {"num_attention_heads": 2, "num_key_value_heads": 2}


def stating(base, project, *, infilling=True, **shape):
    """Give a recipe that starts from a folder and says what shape it has."""
    overrides = [f"model.init_from={base}", *(f"model.architecture.{key}={value}" for key, value in shape.items())]
    return load(TrainingRecipe, project / f"recipes/tiny/{'code' if infilling else 'python'}.toml", overrides)


def test_a_base_of_another_shape_than_the_recipe_says_is_refused(tokenizer, tmp_path, project):
    base_rows = tokenizer.vocabulary_size - 16
    small_model(rows=base_rows).save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    assert build_model(stating(tmp_path, project, **SHAPE), tokenizer)
    for key, value in {"intermediate_size": 48, "num_hidden_layers": 2, "num_key_value_heads": 1}.items():
        with pytest.raises(UserError, match=rf"model\.architecture\.{key}={value}, but the base .* has"):
            build_model(stating(tmp_path, project, **{**SHAPE, key: value}), tokenizer)
    recipe = stating(tmp_path, project, **SHAPE, vocab_size=base_rows + 32)
    with pytest.raises(UserError, match=f"vocab_size={base_rows + 32:,}, but .* which makes {base_rows + 16:,}"):
        build_model(recipe, load_tokenizer(recipe.model))


def test_a_model_without_infilling_tokens_keeps_the_rows_of_its_base(tokenizer, tmp_path, project):
    base_rows = tokenizer.vocabulary_size - 16
    small_model(rows=base_rows).save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    recipe = stating(tmp_path, project, infilling=False, **SHAPE, vocab_size=base_rows)
    limited = load_tokenizer(recipe.model)
    assert limited.vocabulary_size == base_rows
    assert limited.fingerprint == tokenizer.fingerprint, "the same shards serve both"
    assert len(build_model(recipe, limited).get_input_embeddings().weight) == base_rows
    extended = build_model(stating(tmp_path, project, **SHAPE, vocab_size=base_rows + 16), tokenizer)
    assert len(extended.get_input_embeddings().weight) == base_rows + 16
    too_few = stating(tmp_path, project, infilling=False, **SHAPE, vocab_size=base_rows - 16)
    with pytest.raises(UserError, match=f"vocab_size={base_rows - 16:,} is less than the [0-9]+ ids"):
        load_tokenizer(too_few.model)
