"""Faster code for the same model: torch.compile, and Liger's fused kernels on CUDA."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.models.llama import modeling_llama

from codellama_train.console import UserError
from codellama_train.recipe.machine import Machine


def require_kernels(machine: Machine) -> None:
    """Refuse kernels that this machine does not have."""
    if machine.kernels is None:
        return
    if not torch.cuda.is_available():
        raise UserError(
            f"machine.kernels={machine.kernels!r} needs a GPU, and there is none here; remove the key, results stay "
            "the same"
        )
    if find_spec("liger_kernel") is None:
        raise UserError(
            f"machine.kernels={machine.kernels!r} needs a package that is not installed: pip install -e '.[kernels]', "
            "or remove the key, results stay the same"
        )


def use_kernels(model: LlamaForCausalLM, machine: Machine) -> None:
    """Let a model compute by what the recipe asks for; no parameter's name or value changes."""
    if machine.kernels == "liger":
        use_liger(model)
    if machine.compile:
        for layer in model.model.layers:
            layer.compile(fullgraph=True, dynamic=False)  # in place: `torch.compile(layer)` would rename parameters


def use_liger(model: LlamaForCausalLM) -> None:
    """Replace norms, activations and rotations by Liger's; its cross-entropy would give up what ours can do.

    Liger's own patch replaces transformers' classes for the whole process, also for the copy of the model that export
    checks on the processor, where these kernels do not run.
    """
    from liger_kernel.transformers.functional import liger_rms_norm, liger_swiglu

    def normalise(norm: Any, hidden: Tensor) -> Tensor:
        normalised: Tensor = liger_rms_norm(hidden, norm.weight, norm.variance_epsilon)
        return normalised

    def feed_forward(mlp: Any, hidden: Tensor) -> Tensor:
        projected: Tensor = mlp.down_proj(liger_swiglu(mlp.gate_proj(hidden), mlp.up_proj(hidden)))
        return projected

    for module in model.modules():
        if isinstance(module, modeling_llama.LlamaRMSNorm):
            module.forward = functools.partial(normalise, module)
        elif isinstance(module, modeling_llama.LlamaMLP):
            module.forward = functools.partial(feed_forward, module)
    rotate_on_gpu()


def rotate_on_gpu() -> None:
    """Let transformers' Llama rotate by Liger's kernel where tensors are on a GPU; it looks this name up."""
    from liger_kernel.transformers.functional import liger_rope

    plain = modeling_llama.apply_rotary_pos_emb

    def rotate(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> Any:
        return liger_rope(query, key, cos, sin) if query.is_cuda else plain(query, key, cos, sin, unsqueeze_dim)

    modeling_llama.apply_rotary_pos_emb = rotate
