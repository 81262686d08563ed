"""A frozen base in four bits (QLoRA): its layers' matrices in NF4, quantised once more where they are scaled.

Training sees the quantised base, and so the finished model is that base with the adapters: in an export the matrices
hold, in bfloat16, the values that the four bits stand for, not those that they had before.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch import Tensor, nn

from codellama_train.console import UserError


def quantize_layer(layer: nn.Module) -> None:
    """Put the four-bit form in the place of every linear layer within one layer of a model."""
    bitsandbytes = require_bitsandbytes()
    for owner, name, linear in linear_layers(layer):
        smaller = bitsandbytes.nn.Linear4bit(
            linear.in_features, linear.out_features, bias=linear.bias is not None, quant_type="nf4", device="meta"
        )
        smaller.weight = as_four_bits(linear.weight, module=smaller)
        smaller.bias = linear.bias
        smaller.compute_dtype, smaller.compute_type_is_set = linear.weight.dtype, True
        # Otherwise a forward pass for validation rearranges the weights on a processor, and training fails after it.
        smaller.support_avx512bf16_for_cpu = False
        setattr(owner, name, smaller)


def round_layer(layer: nn.Module) -> None:
    """Give every linear layer within one layer of a model the values that its four-bit form stands for."""
    bitsandbytes = require_bitsandbytes()
    for _, _, linear in linear_layers(layer):
        packed: Any = as_four_bits(linear.weight)
        linear.weight.data = bitsandbytes.functional.dequantize_4bit(packed.data, packed.quant_state)


def as_four_bits(weight: Tensor, module: nn.Module | None = None) -> nn.Parameter:
    """Quantise a matrix where it is."""
    parameter = require_bitsandbytes().nn.Params4bit(
        weight.detach(), requires_grad=False, quant_type="nf4", compress_statistics=True, module=module
    )
    packed: nn.Parameter = parameter.to(weight.device)
    return packed


def linear_layers(layer: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    """List the linear layers within a module, each with its owner and its name there."""
    return [
        (owner, name, child)
        for owner in layer.modules()
        for name, child in owner.named_children()
        if type(child) is nn.Linear
    ]


def require_bitsandbytes() -> ModuleType:
    """Import the library, or say how it is installed."""
    try:
        import bitsandbytes
    except ImportError as error:
        raise UserError(
            'lora.quantization="nf4" needs the package bitsandbytes: pip install "codellama-train[quantized]", or '
            "remove the key to keep the base in bfloat16"
        ) from error
    module: ModuleType = bitsandbytes
    return module
