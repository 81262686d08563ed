"""Low-rank adapters through peft, and with them the rows of tokens that the base does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaForCausalLM
from transformers.integrations import HfDeepSpeedConfig

from codellama_train.console import UserError
from codellama_train.model import ids_new_to_the_base
from codellama_train.recipe.training import Lora, TrainingRecipe
from codellama_train.tokens.tokenizer import Tokenizer
from codellama_train.trained_rows import EmbeddingWithRows, fold_rows, train_rows, trained_rows

WEIGHTS_FILE = "adapter_model.safetensors"  # peft's name


def adapted(model: LlamaForCausalLM, recipe: TrainingRecipe, tokenizer: Tokenizer) -> Any:
    """Give what trains: the model itself, or for LoRA the model with adapters and trained rows of new tokens."""
    if recipe.lora is None:
        return model
    with_adapters = add_adapters(model, recipe.lora, seed=recipe.data.seed)
    if ids := ids_new_to_the_base(recipe.model, tokenizer):
        train_rows(model, ids)
    return with_adapters


def add_adapters(model: LlamaForCausalLM, lora: Lora, *, seed: int) -> PeftModel:
    """Freeze the model and add trainable adapters to the recipe's linear layers, the same ones for the same seed."""
    linear = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    for target in lora.target_modules:
        if target not in linear:
            raise UserError(
                f"lora.target_modules names {target!r}, which this model does not have as a layer that adapters fit; "
                f"it has {', '.join(sorted(linear - {'lm_head'}))}"
            )
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=list(lora.target_modules),
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)
    is_cut_up = any(hasattr(parameter, "ds_id") for parameter in model.parameters())
    # peft gathers weights that ZeRO 3 has cut up if transformers says that there are such, as it does while this lives.
    flag = HfDeepSpeedConfig({"zero_optimization": {"stage": 3}}) if is_cut_up else None
    adapted_model = get_peft_model(model, config)
    del flag
    return adapted_model


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write the adapters in peft's format, trained rows included, which peft calls trainable tokens."""
    base: Any = model.get_base_model()
    rows = trained_rows(base)
    embedding = base.get_input_embeddings()
    if isinstance(embedding, EmbeddingWithRows):
        model.peft_config["default"].trainable_token_indices = dict.fromkeys(rows, embedding.row_ids.tolist())
    # Left to itself, peft adds both embeddings whole where the model has more rows than its base.
    model.save_pretrained(folder, save_embedding_layers=False)
    if rows:
        paths = {"embed_tokens": "model.embed_tokens", "lm_head": "lm_head"}
        named = {
            f"base_model.model.{paths[name]}.token_adapter.trainable_tokens_delta": weight.contiguous()
            for name, weight in rows.items()
        }
        path = folder / WEIGHTS_FILE
        save_file({**load_file(path), **named}, path, metadata={"format": "pt"})


def merged(model: PeftModel) -> Any:
    """Fold the adapters, in float32, and the trained rows into the weights they belong to; gives the plain model."""
    for module in model.modules():
        if isinstance(module, LoraLayer):
            weight = module.get_base_layer().weight
            dtype = weight.dtype
            weight.data = weight.data.float()
            module.merge()
            weight.data = weight.data.to(dtype)
    plain: Any = model.unload()
    fold_rows(plain)
    return plain
