"""DeepSpeed's engine, configured from the recipe: nothing in its JSON is ever written by hand."""

from __future__ import annotations

import logging
from typing import Any

import deepspeed
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from codellama_train.distributed import Processes, training_dtype
from codellama_train.model import build_model, empty_model, restore_rotary_precision
from codellama_train.offload import fit_buffers, memory_settings
from codellama_train.quantization import quantize_layer
from codellama_train.recipe.training import TrainingRecipe, sequence_groups, sequences_per_rank
from codellama_train.tokens.tokenizer import Tokenizer

ALONE_BUCKET_SIZE = 4_000_000  # gradients

logger = logging.getLogger(__name__)


def micro_steps(recipe: TrainingRecipe, num_ranks: int) -> int:
    """Count the forward-backward passes of a step on each device."""
    rows = sequences_per_rank(recipe.sequences_per_step, sequence_groups(num_ranks, recipe.machine.sequence_parallel))
    return -(-rows // recipe.machine.sequences_per_device)


def deepspeed_config(recipe: TrainingRecipe, *, num_ranks: int, bfloat16: bool) -> dict[str, Any]:
    """Derive DeepSpeed's configuration."""
    accumulation = micro_steps(recipe, num_ranks)
    memory = memory_settings(recipe)
    if num_ranks == 1 and not torch.cuda.is_available():
        # Nothing is sent, so that large buckets save nothing; small ones stay in the processor's cache.
        memory["zero_optimization"]["reduce_bucket_size"] = ALONE_BUCKET_SIZE
    return {
        "train_micro_batch_size_per_gpu": recipe.machine.sequences_per_device,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": recipe.optimizer.gradient_clipping,
        "bf16": {"enabled": bfloat16},
        # In bfloat16 a sum over many micro-steps loses the small gradients (1.35 % error at 128 micro-steps).
        **({"data_types": {"grad_accum_dtype": "fp32"}} if accumulation > 1 else {}),
        **memory,
        "steps_per_print": 1 << 62,
    }


def parameter_groups(model: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices; leave norms (vectors) alone."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.dim() >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.dim() < 2], "weight_decay": 0.0},
    ]


def place_model(recipe: TrainingRecipe, tokenizer: Tokenizer, processes: Processes) -> LlamaForCausalLM:
    """Build the model on this process's device in the precision it trains in; at ZeRO 3 keep only this process's share.

    There a process holds at most one layer beyond its share, however large the base is.
    """
    dtype = training_dtype(processes.device)
    settings = deepspeed_config(recipe, num_ranks=processes.num_ranks, bfloat16=dtype == torch.bfloat16)
    fit_buffers(settings, empty_model(recipe, tokenizer), num_ranks=processes.num_ranks)
    swapper = None  # one for the whole model, where weights lie on a drive

    def keep_share(module: nn.Module) -> None:
        nonlocal swapper
        swapper = deepspeed.zero.Init(
            module=module, config_dict_or_path=settings, dtype=dtype, param_swapper=swapper
        ).param_swapper

    is_quantized = recipe.lora is not None and recipe.lora.quantization is not None
    after_each = quantize_layer if is_quantized else keep_share if recipe.machine.zero_stage == 3 else None
    model = build_model(recipe, tokenizer, dtype=dtype, device=processes.device, after_each=after_each)
    model.is_loaded_in_4bit = is_quantized  # peft's adapters look for this
    return model


def start_engine(model: nn.Module, config: Any, *, recipe: TrainingRecipe, processes: Processes) -> Any:
    """Hand the model to DeepSpeed; `config` is the Llama configuration, whose RoPE frequencies stay in float32."""
    dtype = training_dtype(processes.device)
    for parameter in model.parameters():  # peft makes adapters in float32; DeepSpeed leaves them so at ZeRO 3
        if parameter.requires_grad and not hasattr(parameter, "ds_id"):
            parameter.data = parameter.data.to(dtype)
    optimizer = torch.optim.AdamW(
        [group for group in parameter_groups(model, weight_decay=recipe.optimizer.weight_decay) if group["params"]],
        lr=recipe.optimizer.peak_learning_rate,
        betas=recipe.optimizer.betas,
        eps=recipe.optimizer.epsilon,
        fused=True,
    )
    if dtype != torch.bfloat16:
        logger.warning("this machine does not compute in bfloat16; training is in float32, slower and in more memory")
    settings = deepspeed_config(recipe, num_ranks=processes.num_ranks, bfloat16=dtype == torch.bfloat16)
    fit_buffers(settings, model, num_ranks=processes.num_ranks)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
    restore_rotary_precision(model, config)
    return engine


def set_learning_rate(engine: Any, rate: float) -> None:
    """Set the rate of the coming update."""
    for group in engine.optimizer.param_groups:
        group["lr"] = rate


def consolidated_weights(engine: Any, processes: Processes) -> dict[str, Tensor]:
    """Collect the trained weights by name on the first process, one parameter at a time; the others give nothing."""
    weights: dict[str, Tensor] = {}
    for name, parameter in engine.module.named_parameters(remove_duplicate=False):
        if not parameter.requires_grad:
            continue
        with deepspeed.zero.GatheredParameters([parameter], enabled=hasattr(parameter, "ds_id")):
            if processes.is_first:
                weights[name] = parameter.detach().to("cpu", copy=True)
    return weights
