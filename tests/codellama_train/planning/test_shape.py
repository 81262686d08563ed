"""Shapes without weights: against the models that transformers and peft make, and Meta's published counts."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from codellama_train.console import UserError
from codellama_train.lora import add_adapters
from codellama_train.planning.shape import ModelShape, shape_of, shape_of_config, trained_parameters
from codellama_train.recipe.training import Lora, TrainingRecipe

LLAMA_2 = {  # hidden size, intermediate size, layers, heads, heads of keys and values; what the models' files hold
    "7b": (ModelShape(4096, 11_008, 32, 32, 32, 128, 32_000), 6_738_415_616),
    "13b": (ModelShape(5120, 13_824, 40, 40, 40, 128, 32_000), 13_015_864_320),
    "34b": (ModelShape(8192, 22_016, 48, 64, 8, 128, 32_000), 33_743_970_304),
    "70b": (ModelShape(8192, 28_672, 80, 64, 8, 128, 32_000), 68_976_648_192),
}
ALL_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SMALL = {
    "vocab_size": 176,
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def recipe_of(**tables) -> TrainingRecipe:
    """Give a recipe whose other numbers do not matter."""
    model = {"tokenizer": "nowhere", "rope_theta": 1e4} | tables.pop("model", {})
    return TrainingRecipe.model_validate(
        {
            "name": "small",
            "model": model,
            "data": {"sequence_length": 64, "seed": 1, "sources": {"code": {"shards": "nowhere", "share": 1.0}}},
            "batch": {"tokens_per_step": 256, "total_tokens": 2_560},
            "optimizer": {
                "peak_learning_rate": 1e-3,
                "final_learning_rate_fraction": 0.1,
                "warmup_steps": 0,
                "betas": [0.9, 0.95],
                "epsilon": 1e-8,
                "weight_decay": 0.1,
                "gradient_clipping": 1.0,
            },
            "machine": {
                "zero_stage": 1,
                "sequences_per_device": 1,
                "activation_checkpointing": False,
                "log_every_steps": 1,
                "save_every_steps": 5,
                "keep_checkpoints": 1,
            },
            **tables,
        }
    )


@pytest.mark.parametrize("size", LLAMA_2)
def test_published_models_have_their_published_number_of_weights(size):
    shape, published = LLAMA_2[size]
    assert shape.num_parameters == published


@pytest.mark.parametrize("change", [{}, {"tie_word_embeddings": True}, {"head_dim": 16}, {"num_key_value_heads": 4}])
def test_weights_are_counted_as_transformers_makes_them(change):
    config = LlamaConfig(**(SMALL | change))
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    assert shape_of_config(config.to_dict()).num_parameters == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("lora", [Lora(rank=8, alpha=8, target_modules=ALL_LAYERS, use_dora=True),
                                  Lora(rank=4, alpha=8, target_modules=["q_proj", "v_proj"])])  # fmt: skip
def test_adapters_are_counted_as_peft_makes_them(lora):
    config = LlamaConfig(**SMALL)
    model = add_adapters(LlamaForCausalLM(config), lora, seed=0)
    recipe = recipe_of(model={"init_from": "nowhere"}, lora=lora.model_dump())
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert trained_parameters(recipe, shape_of_config(config.to_dict())) == trained


def test_adapters_of_7b_are_as_many_as_published():
    recipe = recipe_of(model={"init_from": "nowhere"}, lora={"rank": 16, "alpha": 32, "target_modules": ALL_LAYERS})
    assert trained_parameters(recipe, LLAMA_2["7b"][0]) == 39_976_960


def write_base(folder, **change):
    folder.mkdir(exist_ok=True)
    LlamaConfig(**(SMALL | change)).save_pretrained(folder)
    return str(folder)


def test_a_bases_folder_says_its_shape_and_which_rows_are_new(tmp_path, shared_data):
    model = {"init_from": write_base(tmp_path / "base", vocab_size=32_000)}
    model["tokenizer"] = str(shared_data / "llama2_tokenizer")
    recipe = recipe_of(model=model, lora={"rank": 8, "alpha": 8, "target_modules": ["q_proj"]})
    shape = shape_of(recipe)
    assert shape == replace(shape_of_config(SMALL), vocab_size=32_016), "its infilling tokens get rows"
    assert trained_parameters(recipe, shape) == 3 * 8 * (32 + 32) + 2 * 16 * 32


def test_a_recipe_whose_base_is_still_to_be_made_has_the_shape_of_what_makes_it(tmp_path):
    first = recipe_of(model={"init_from": write_base(tmp_path / "base")})
    second = recipe_of(model={"init_from": "runs/first/final"})
    third = recipe_of(model={"init_from": "runs/second/final"})
    assert shape_of(third, [second, first]) == shape_of_config(SMALL)


def test_what_is_not_known_is_asked_for(tmp_path):
    with pytest.raises(UserError, match=r"init_from='runs/first/final' is no folder here.*\[model.architecture\]"):
        shape_of(recipe_of(model={"init_from": "runs/first/final"}))
    architecture = {key: value for key, value in SMALL.items() if key != "vocab_size"}
    with pytest.raises(UserError, match=r"tokenizer='nowhere' is not here.*vocab_size"):
        shape_of(recipe_of(model={"architecture": architecture | {"initializer_range": 0.02}}))
    recipe = recipe_of(model={"init_from": "nowhere"}, lora={"rank": 4, "alpha": 8, "target_modules": ["q_prj"]})
    with pytest.raises(UserError, match=r"lora.target_modules names 'q_prj', which is no matrix.*q_proj"):
        trained_parameters(recipe, LLAMA_2["7b"][0])
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(UserError, match="is a 'gpt2' model"):
        shape_of(recipe_of(model={"init_from": str(tmp_path)}))


def test_planning_imports_no_torch(project):
    modules = [
        f"codellama_train.planning.{path.stem}" for path in sorted((project / "codellama_train/planning").glob("*.py"))
    ]
    blocked = "import sys, importlib; sys.modules.update(torch=None, transformers=None, deepspeed=None)\n"
    program = blocked + "".join(f"importlib.import_module({name!r})\n" for name in [*modules, "codellama_train.flops"])
    subprocess.run([sys.executable, "-c", program], check=True, cwd=project)
