"""Sequence parallelism in the manner of Ulysses: processes share each sequence, so that it may be long.

Each process of a group runs a slice of every sequence through all layers. Only attention needs the whole: there the
processes exchange slices of all heads for all of some heads, attend, and exchange back, by DeepSpeed's own layer.

DeepSpeed's engine is not told. To it, all processes are data-parallel, and each has a loss: the sum over the tokens of
its slice. The backward of an exchange is its transpose, so a process's gradient is that of *all* losses by its own copy
of the weights, and their sum, which the engine makes at every ZeRO stage, is the gradient of the loss of the step.
"""

from __future__ import annotations

from math import gcd
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from deepspeed.sequence.layer import DistributedAttention
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

from codellama_train.console import UserError
from codellama_train.distributed import Processes
from codellama_train.recipe.training import sequence_groups
from codellama_train.sequence_slices import WHOLE_SEQUENCES, SequenceShare, share_of

ATTENTION = (
    "ulysses"  # transformers makes no mask for a name that it does not know: what is masked is said by the caller
)
BATCH, SEQUENCE, HEADS = 0, 1, 2


def share_sequences(model: Any, num_slices: int, processes: Processes) -> SequenceShare:
    """Let each `num_slices` neighbouring processes share sequences, and say which slice is this one's."""
    sequence_groups(processes.num_ranks, num_slices)  # refuses what does not divide
    heads = model.config.num_attention_heads
    if heads % num_slices:
        raise UserError(
            f"machine.sequence_parallel={num_slices} does not divide the model's {heads} attention heads, of which "
            f"each device takes an equal part; use a divisor of {heads}"
        )
    if num_slices == 1:
        return WHOLE_SEQUENCES
    new_subgroups: Any = dist.new_subgroups
    group, _ = new_subgroups(num_slices)
    # DeepSpeed's source warns of compilers that trace such an exchange: its gradient may get lost, silently.
    not_compiled: Any = torch.compiler.disable
    AttentionInterface.register(ATTENTION, not_compiled(UlyssesAttention(group).__call__))
    model.set_attn_implementation(ATTENTION)
    return share_of(processes, num_slices)


class UlyssesAttention:
    """Attention of slices to whole sequences, in the form that transformers calls."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self._num_slices = dist.get_world_size(group)
        self._exchanging = DistributedAttention(attend, group, scatter_idx=HEADS, gather_idx=SEQUENCE)

    def __call__(
        self, _module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, None]:
        """Take (batch, heads, slice, head size), and a mask over the whole sequence; give (batch, slice, heads, …).

        Keys and values of fewer heads than the group's processes divide are repeated until they do.
        """
        repeats = self._num_slices // gcd(key.shape[1], self._num_slices)
        shared = (query, repeat_kv(key, repeats), repeat_kv(value, repeats))
        options = {name: options[name] for name in ("scaling", "dropout")}
        return self._exchanging(
            *(each.transpose(1, 2) for each in shared), BATCH, None, attention_mask, **options
        ), None


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> Tensor:
    """Let some heads attend as transformers does to the whole sequence. Shape: (batch, sequence, heads, head size)."""
    shape = SimpleNamespace(num_key_value_groups=query.shape[2] // key.shape[2], is_causal=True)
    output: Tensor = sdpa_attention_forward(
        shape, *(each.transpose(1, 2) for each in (query, key, value)), mask, **options
    )[0]
    return output
