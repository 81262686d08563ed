"""Checkpoints of an optimizer whose state lies on a drive: the same files as if it lay in memory.

DeepSpeed by itself copies its swap files, which fit this layout alone, and forgets how many updates were done. Here
they are mapped into memory while a checkpoint is written, and filled group by group while one is read, so that any
layout takes up what any other has saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")
WEIGHT = "fp32"


def is_on_drive(engine: Any) -> bool:
    """Tell whether the optimizer's state lies on a drive."""
    return getattr(engine.optimizer, "optimizer_swapper", None) is not None


@contextmanager
def mapped_state(engine: Any) -> Iterator[None]:
    """Let what lies on the drive be read as if it lay in memory, of which it takes none."""
    if not is_on_drive(engine):
        yield
        return
    swapped = engine.optimizer.optimizer_swapper.swap_params_info.values()
    for state in swapped:
        for part in state.tensors:
            part.compute_tensor.data = torch.from_file(part.swap_path, size=state.numel(), dtype=state.dtype())
    engine.zero_nvme_offload_optimizer = lambda: False  # so that it copies no swap files
    try:
        yield
    finally:
        del engine.zero_nvme_offload_optimizer  # the class's own shows again
        for state in swapped:
            state.release_memory()


def load_same_layout(saved: Path, engine: Any, *, step: int) -> None:
    """Restore this process's part of a checkpoint of the same layout, bit by bit."""
    path = Path(engine._get_zero_ckpt_name(str(saved.parent), saved.name))
    stored = torch.load(path, map_location="cpu", weights_only=False, mmap=True)["optimizer_state_dict"]
    moments = stored["optimizer_state_dict"]["state"]

    def read(group: int) -> dict[str, Tensor]:
        weights = stored["fp32_flat_groups"][group]
        none = dict.fromkeys(MOMENTS, torch.zeros_like(weights))  # there are no moments before the first update
        return {WEIGHT: weights, **{kind: moments.get(group, none)[kind] for kind in MOMENTS}}

    fill(engine, step=step, read=read)


def fill(engine: Any, *, step: int, read: Callable[[int], dict[str, Tensor]]) -> None:
    """Set weights and moments from flat tensors of each of the groups in which they go to the drive and back."""
    optimizer = engine.optimizer
    optimizer.checkpoint_event_prologue()
    for group, weights in enumerate(optimizer.fp32_partitioned_groups_flat):
        given = read(group)
        optimizer._prepare_sub_group(group, set())
        weights.data.copy_(given[WEIGHT])
        moments = {kind: given[kind].to(weights.dtype, copy=True) for kind in MOMENTS}
        optimizer.optimizer.state[weights] = {"step": torch.tensor(float(step)), **moments}
        optimizer._reassign_or_swap_out_partitioned_parameters(group)
        optimizer._release_sub_group(group, set())
    optimizer.checkpoint_event_epilogue()
    engine.global_steps = step
