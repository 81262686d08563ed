"""Bytes of what forward keeps for backward, and of what backward needs beside it: of one layer, and of the loss.

Everything is per token of a device's micro-step unless it says otherwise; attention is PyTorch's flash kernel or its
like, which keeps queries, keys, values, output and one number per head, never a matrix of tokens by tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from codellama_train.planning.shape import ModelShape, adapted_layers
from codellama_train.recipe.training import Lora

BF16, FP32 = 2, 4  # bytes

# How much of the loss is worked on at once; loss.py has the same numbers, which a test compares.
CHUNK_TOKENS, BLOCK_TOKENS = 256, 16
GPU_CHUNK_TOKENS, GPU_BLOCK_TOKENS = 4096, 1024


@dataclass(frozen=True)
class LayerActivations:
    """What a layer's backward needs, in bytes per token."""

    kept: int  # by forward for backward, where the layer is not run again
    mlp: int  # the part of it that belongs to the feed-forward matrices
    most: int  # of that, and of backward's own gradients, at once


def layer_activations(
    shape: ModelShape,
    *,
    lora: Lora | None = None,
    fused: bool = False,
    tiled: bool = False,
    masked: bool = False,
    exchanged: bool = False,
) -> LayerActivations:
    """Count a layer's activations.

    `fused`: norms and the activation function are one kernel each, as Liger's, which compute within backward what lies
    between their input and output, and so does torch.compile's partitioner, which keeps what matrices need; `tiled`:
    the feed-forward part is recomputed in tiles; `masked`: keys and values are repeated for each head that shares them,
    as transformers does beside a mask; `exchanged`: attention's output comes back from other devices, a copy of what
    the kernel keeps.
    """
    hidden, wide, out = shape.hidden_size, shape.intermediate_size, shape.attention_width
    needs_input = set(shape.linear_layers if lora is None else adapted_layers(lora, shape))
    # A norm keeps its input, eager in float32 beside the normalised one, which the gradient of its own weight needs.
    norm = BF16 * hidden if fused else FP32 * hidden + (BF16 * hidden if lora is None else 0)
    keys = out if masked and shape.num_kv_heads > 1 else shape.key_width
    attention = BF16 * (2 * out + 2 * keys) + FP32 * shape.num_heads
    attention += BF16 * hidden * bool(needs_input & {"q_proj", "k_proj", "v_proj"})
    attention += BF16 * out * exchanged
    mlp_input = BF16 * hidden * bool(tiled or needs_input & {"gate_proj", "up_proj"})
    product = BF16 * wide * ("down_proj" in needs_input)
    gates = BF16 * wide * (2 if fused else 3)  # gate, up; eager also the activated gate
    adapters = adapter_activations(lora, shape, without_mlp=tiled) if lora else 0
    mlp = 0 if tiled else gates + product
    kept = 2 * (norm + FP32) + attention + mlp_input + mlp + adapters
    if fused:  # gradients are written over what they are made from
        return LayerActivations(kept, mlp, kept + BF16 * (wide + hidden))
    # At the product of gate and up, its gradient and theirs are there, and the product is gone, as is what DoRA kept of
    # the matrix after it; at a norm, five float32 tensors, and what the norm made is gone.
    gone = product + (2 * BF16 * hidden if product and lora and lora.use_dora else 0)
    in_mlp = 0 if tiled else kept - gone + 3 * BF16 * wide + BF16 * hidden
    in_norm = kept - mlp + 5 * FP32 * hidden - BF16 * hidden * (lora is None)
    return LayerActivations(kept, mlp, max(in_mlp, in_norm))


def adapter_activations(lora: Lora, shape: ModelShape, *, without_mlp: bool = False) -> int:
    """Count what adapters keep: their middle, and with DoRA both products, whose lengths it scales."""
    layers = adapted_layers(lora, shape)
    if without_mlp:
        layers = {name: sizes for name, sizes in layers.items() if name not in ("gate_proj", "up_proj", "down_proj")}
    middle = BF16 * lora.rank * len(layers)
    return middle + (2 * BF16 * sum(outputs for _, outputs in layers.values()) if lora.use_dora else 0)


def tile_bytes(shape: ModelShape, *, tile_tokens: int) -> int:
    """Count the bytes of one tile of the feed-forward part in its backward: six tensors of its width."""
    return tile_tokens * 6 * BF16 * shape.intermediate_size


def weight_temporaries(shape: ModelShape, lora: Lora | None) -> int:
    """Count bytes that do not grow with tokens: a four-bit matrix made whole again, or the lengths of DoRA's rows.

    For these peft multiplies the adapters by an identity matrix, and adds their product to the weights.
    """
    if lora is None:
        return 0
    sizes = list(shape.linear_layers.values())
    whole = max(BF16 * inputs * outputs for inputs, outputs in sizes) if lora.quantization else 0
    adapted = adapted_layers(lora, shape).values()
    lengths = max((BF16 * inputs * (inputs + 3 * outputs) for inputs, outputs in adapted), default=0)
    return whole + (lengths if lora.use_dora else 0)


def mask_bytes(*, sequence_length: int) -> tuple[int, int]:
    """Count the bytes of a sequence's document mask: as it is made, and as attention turns it into numbers, kept."""
    return sequence_length**2, BF16 * sequence_length**2


@dataclass(frozen=True)
class LossBytes:
    """Bytes that the output layer needs beside the model's activations."""

    hidden: int  # that grow with the tokens
    logits: int  # that do not: logits and gradients of the layer's weight


def loss_forward(shape: ModelShape, *, tokens: int, trains_head: bool, on_gpu: bool) -> LossBytes:
    """Count the loss's forward pass, in which gradients are already made."""
    chunk = min(tokens, GPU_CHUNK_TOKENS if on_gpu else CHUNK_TOKENS)
    block = min(tokens, GPU_BLOCK_TOKENS if on_gpu else BLOCK_TOKENS)
    # Kept of the last norm: float32 input and normalised; then its output, the rows that are predicted, their gradient.
    hidden = tokens * shape.hidden_size * (FP32 + 4 * BF16)
    work = max(FP32 * block * shape.vocab_size, BF16 * shape.embedding_parameters if trains_head else 0)
    gradient = FP32 * shape.embedding_parameters if trains_head else 0
    return LossBytes(hidden, BF16 * chunk * shape.vocab_size + work + gradient)


def loss_backward(shape: ModelShape, *, tokens: int, trains_head: bool) -> LossBytes:
    """Count the loss's backward pass, which scales what forward made."""
    hidden = tokens * shape.hidden_size * (FP32 + 2 * BF16)
    return LossBytes(hidden, (FP32 + BF16) * shape.embedding_parameters if trains_head else 0)
