"""Models take up exactly the values that a base's files hold, and refuse files that are not the model's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from launching import PROJECT, write_recipe
from safetensors.torch import load_file, save_file
from test_lora import random_llama
from transformers import LlamaForCausalLM

from codellama_train.console import UserError
from codellama_train.model import build_model
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.weights import random_weights, stored_weights, weight_files


def recipe_from(base, folder, data) -> TrainingRecipe:
    """Write and load the small recipe, starting from a base."""
    path = write_recipe(folder / "small.toml", runs=folder / "runs", data=data)
    text = path.read_text()
    start, end = text.index("tokenizer ="), text.index("[data]\n")
    path.write_text(f'{text[:start]}init_from = "{base}"\nrope_theta = 10_000.0\n{text[end:]}')
    return load(TrainingRecipe, path)


def save_base(folder, tokenizer, *, tied=False, hidden_size=32, max_shard_size="5GB"):
    """Write a base with a row for every id, in bfloat16."""
    model = random_llama(rows=tokenizer.vocabulary_size, tied=tied, hidden_size=hidden_size).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    tokenizer.save(folder)
    return folder


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("max_shard_size", ["5GB", "20KB"])
def test_a_built_model_is_the_one_that_transformers_loads(max_shard_size, tied, tokenizer, training_data, tmp_path):
    base = save_base(tmp_path / "base", tokenizer, tied=tied, max_shard_size=max_shard_size)
    assert (len(list(base.glob("*.safetensors"))) > 1) == (max_shard_size == "20KB")
    recipe = recipe_from(base, tmp_path, training_data)
    for dtype in (torch.float32, torch.bfloat16):
        ours = build_model(recipe, tokenizer, dtype=dtype)
        theirs = LlamaForCausalLM.from_pretrained(base, dtype=dtype)
        expected = dict(theirs.named_parameters())
        assert [name for name, _ in ours.named_parameters()] == list(expected)
        assert all(torch.equal(weight, expected[name]) for name, weight in ours.named_parameters())
        assert (ours.lm_head.weight is ours.model.embed_tokens.weight) == tied
        input_ids = torch.arange(60)[None]
        assert torch.equal(ours.eval()(input_ids).logits, theirs.eval()(input_ids).logits)


IN_SHARES = """
import json, sys
from pathlib import Path
import deepspeed, torch
from safetensors.torch import load_file
from codellama_train.distributed import start_processes
from codellama_train.engine import place_model
from codellama_train.model import load_tokenizer
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
recipe = load(TrainingRecipe, Path(sys.argv[1]), ["machine.zero_stage=3"])
processes = start_processes()
model = place_model(recipe, load_tokenizer(recipe.model), processes)
stored = load_file(recipe.model.init_from + "/model.safetensors")
held = sum(parameter.numel() for parameter in model.parameters())
share = sum(parameter.ds_tensor.numel() for parameter in model.parameters())
equal = []
for name, parameter in model.named_parameters():
    with deepspeed.zero.GatheredParameters([parameter]):
        equal.append(torch.equal(parameter.cpu(), stored[name].to(parameter.dtype)))
print(json.dumps([held, share, sum(value.numel() for value in stored.values()), all(equal)]))
"""


def test_at_zero_3_each_process_keeps_its_share_and_nothing_else(tokenizer, training_data, tmp_path):
    base = save_base(tmp_path / "base", tokenizer, hidden_size=320)
    recipe_from(base, tmp_path, training_data)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "DS_ACCELERATOR": "cpu"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", IN_SHARES, str(tmp_path / "small.toml")],
            cwd=PROJECT,
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    for process in processes:
        held, share, whole, is_equal = json.loads(process.communicate(timeout=120)[0].splitlines()[-1])
        assert held == 0, "parameters are put together when they are needed"
        assert whole / 2 <= share < whole / 2 + 1_000
        assert is_equal


def test_random_weights_depend_on_name_and_seed_alone():
    first, second = random_weights(0.02, seed=1), random_weights(0.02, seed=1)
    second("other", (4, 4))
    drawn = first("layers.0.weight", (300, 200))
    assert torch.equal(drawn, second("layers.0.weight", (300, 200)))
    for other in (first("layers.1.weight", (300, 200)), random_weights(0.02, seed=2)("layers.0.weight", (300, 200))):
        assert abs(float((drawn * other).mean())) < 0.02**2 * 0.02
    assert float(drawn.std()) == pytest.approx(0.02, rel=0.02)
    assert abs(float(drawn.mean())) < 0.02 * 0.02
    assert torch.equal(first("norm.weight", (8,)), torch.ones(8))


def test_files_that_are_not_the_models_are_refused(tokenizer, training_data, tmp_path):
    base = save_base(tmp_path / "base", tokenizer)
    recipe, path = recipe_from(base, tmp_path, training_data), base / "model.safetensors"
    weights = load_file(path)
    name = "model.layers.1.mlp.up_proj.weight"

    def refusal(stored) -> str:
        save_file(stored, path, metadata={"format": "pt"})
        with pytest.raises(UserError) as refused:
            build_model(recipe, tokenizer)
        return str(refused.value)

    assert f"lack '{name}' and 0 others" in refusal({key: weights[key] for key in weights if key != name})
    bias = "model.layers.0.self_attn.q_proj.bias"
    assert f"beyond what config.json describes, '{bias}' and 0" in refusal({**weights, bias: torch.zeros(32)})
    assert f"'{name}' of shape (3, 5); config.json describes (64, 32)" in refusal({**weights, name: torch.zeros(3, 5)})
    build_model_with = {**weights, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(8)}
    save_file(build_model_with, path, metadata={"format": "pt"})
    build_model(recipe, tokenizer)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        build_model(recipe, tokenizer)
    path.rename(base / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"has no weights in safetensors files.*save_pretrained"):
        weight_files(base)


def test_a_file_of_the_index_that_is_missing_is_named(tokenizer, tmp_path):
    base = save_base(tmp_path / "base", tokenizer, max_shard_size="20KB")
    files = weight_files(base)
    name, path = next(iter(files.items()))
    path.unlink()
    with pytest.raises(UserError, match=path.name):
        stored_weights(base, list(files))(name, (1, 1))
