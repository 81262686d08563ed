"""Low-rank adapters through peft: the way to replicate at small scale."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

from codellama_train.console import UserError
from codellama_train.recipe.training import Lora


def add_adapters(model: LlamaForCausalLM, lora: Lora, *, seed: int) -> PeftModel:
    """Freeze the model and add trainable adapters to the recipe's linear layers, the same ones for the same seed."""
    names = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    for target in lora.target_modules:
        if target not in names:
            raise UserError(f"lora.target_modules names {target!r}, which this model does not have")
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.target_modules), task_type="CAUSAL_LM"
    )
    torch.manual_seed(seed)
    return get_peft_model(model, config)


def merged(model: PeftModel) -> Any:
    """Fold the adapters into the weights they adapt, and give the plain model."""
    return model.merge_and_unload()
