"""How many bytes a training recipe takes on one device, by part, at the moment when it takes most. Imports no torch.

Nothing here is fitted: each formula counts tensors that the model, the loss and DeepSpeed really make. What DeepSpeed
needs while it starts, twice the trained weights for a moment, is left out: where there is no room, it does without.
"""

from __future__ import annotations

from dataclasses import dataclass

from codellama_train.planning.memory_activations import (
    BF16,
    LossBytes,
    layer_activations,
    loss_backward,
    loss_forward,
    mask_bytes,
    tile_bytes,
    weight_temporaries,
)
from codellama_train.planning.memory_states import (
    Parts,
    add,
    between_micro_steps,
    in_backward,
    in_reduction,
    in_update,
    lasting,
    on_host,
    sizes_of,
)
from codellama_train.planning.shape import ModelShape
from codellama_train.recipe.training import TrainingRecipe, sequence_groups, sequences_per_rank

# Of all else, on a GPU: what torch's allocator holds in pieces that nothing fits, and NCCL's buffers. A choice.
ALLOWANCE = 0.05


@dataclass(frozen=True)
class Memory:
    """Bytes on one device at its peak, by part, which moment that is, and bytes in the host's memory per process."""

    parts: dict[str, int]
    host_parts: dict[str, int]
    phase: str

    @property
    def total(self) -> int:
        """All bytes on the device."""
        return sum(self.parts.values())

    @property
    def host_total(self) -> int:
        """All bytes in the host's memory that one process takes for what left its device."""
        return sum(self.host_parts.values())


def memory_of(recipe: TrainingRecipe, shape: ModelShape, *, num_devices: int, on_gpu: bool = True) -> Memory:
    """Give the memory of a recipe's layout on so many devices.

    On a processor formulas are the same, but the loss works on smaller pieces, buffers take what is written into them,
    and nothing is lost in pieces.
    """
    phases = phases_of(recipe, shape, num_devices=num_devices, on_gpu=on_gpu)
    phase = max(phases, key=lambda name: sum(phases[name].values()))
    parts = phases[phase]
    if on_gpu:
        parts = {**parts, "allowance": round(ALLOWANCE * sum(parts.values()))}
    sizes = sizes_of(recipe, shape, num_devices=num_devices, on_gpu=on_gpu)
    return Memory({name: size for name, size in parts.items() if size}, on_host(sizes), phase)


def phases_of(recipe: TrainingRecipe, shape: ModelShape, *, num_devices: int, on_gpu: bool) -> dict[str, Parts]:
    """Give the bytes on a device by part at each moment of a step that can be the peak."""
    sizes = sizes_of(recipe, shape, num_devices=num_devices, on_gpu=on_gpu)
    activations = Activations.of(recipe, shape, num_devices=num_devices)
    trains_head, tokens = recipe.lora is None, activations.tokens
    gathered = {"buffers": BF16 * sizes.gathered}
    forward = loss_forward(shape, tokens=tokens, trains_head=trains_head, on_gpu=on_gpu)
    backward = loss_backward(shape, tokens=tokens, trains_head=trains_head)
    everything, last, first = (
        {"activations": each}
        for each in (activations.all_layers, activations.in_last_layer, activations.in_first_layer)
    )
    before_embedding = sizes.trained - sizes.embedding
    phases = {
        "end of the forward pass": [everything, of_loss(forward), between_micro_steps(sizes), gathered],
        "start of the backward pass": [everything, of_loss(backward), between_micro_steps(sizes), gathered],
        "backward of the last layer": [last, in_backward(sizes, done=sizes.head), gathered],
        "backward of the first layer": [
            first,
            in_backward(sizes, done=before_embedding),
            gathered,
        ],
        "reduction of the gradients": [in_reduction(sizes)],
        "update": [in_update(sizes)],
    }
    return {name: add(lasting(sizes), *parts) for name, parts in phases.items()}


def of_loss(bytes_of_loss: LossBytes) -> Parts:
    """Name the parts of the loss."""
    return {"activations": bytes_of_loss.hidden, "logits": bytes_of_loss.logits}


@dataclass(frozen=True)
class Activations:
    """Bytes of activations of a whole model at the moments that matter."""

    tokens: int  # of a micro-step on one device
    all_layers: int  # kept when forward has ended
    in_last_layer: int
    in_first_layer: int

    @classmethod
    def of(cls, recipe: TrainingRecipe, shape: ModelShape, *, num_devices: int) -> Activations:
        """Count them for a recipe."""
        machine, length = recipe.machine, recipe.data.sequence_length
        groups = sequence_groups(num_devices, machine.sequence_parallel)
        rows = min(machine.sequences_per_device, sequences_per_rank(recipe.sequences_per_step, groups))
        tokens = rows * length // machine.sequence_parallel
        tile = min(machine.mlp_tile_tokens or tokens, tokens)
        layer = layer_activations(
            shape,
            lora=recipe.lora,
            fused=machine.kernels == "liger" or machine.compile,
            tiled=tile < tokens,
            masked=recipe.data.document_mask,
            exchanged=machine.sequence_parallel > 1,
        )
        mask, mask_of_layer = mask_bytes(sequence_length=length) if recipe.data.document_mask else (0, 0)
        kept = tokens * layer.kept + rows * mask_of_layer
        most = tokens * layer.most + rows * mask_of_layer
        if tile < tokens:
            most = max(most, tokens * (layer.kept + 2 * BF16 * shape.hidden_size) + tile_bytes(shape, tile_tokens=tile))
        most += weight_temporaries(shape, recipe.lora)
        hidden = tokens * BF16 * shape.hidden_size
        between = (hidden if machine.activation_checkpointing else kept) * shape.num_layers + rows * mask
        if machine.activation_checkpointing:
            return cls(tokens, between, between + most, hidden + most + rows * mask)
        return cls(tokens, between, between + most - kept, most + rows * mask)
