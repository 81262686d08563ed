"""Take up a checkpoint that was saved by another number of processes or at another ZeRO stage.

DeepSpeed cuts the float32 weights and Adam's moments over processes, differently at each stage. Its own converter puts
them together again, one file per parameter and kind, from which every process here takes the parts that are its own.
The data position needs nothing: it belongs to lanes, not to processes.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed.utils import (
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)
from torch import Tensor

from codellama_train.distributed import Processes, barrier
from codellama_train.nvme import MOMENTS, WEIGHT, fill, is_on_drive

PARTITIONS = ("single_partition_of_fp32_groups", "fp32_groups_flat_partition", "fp32_partitioned_groups_flat")

logger = logging.getLogger(__name__)


def load_from_other_layout(saved: Path, engine: Any, *, step: int, scratch: Path, processes: Processes) -> None:
    """Restore weights and moments from the engine's part of a checkpoint; `scratch` is a folder that all can read."""
    if processes.is_first:
        convert(saved, scratch)
    barrier()
    if is_on_drive(engine):
        fill(engine, step=step, read=lambda group: own_group(engine, scratch, group))
    else:
        create_moments(engine, step=step)
        for name, parameter in engine.module.named_parameters():
            if parameter.requires_grad:
                restore(parameter, {kind: read(scratch, name, kind) for kind in (WEIGHT, *MOMENTS)})
    engine.global_steps = step
    barrier()
    if processes.is_first:
        shutil.rmtree(scratch)


def convert(saved: Path, scratch: Path) -> None:
    """Write one file per parameter and kind, by DeepSpeed's converter."""
    shutil.rmtree(scratch, ignore_errors=True)
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal"]
    folders = ["--input_folder", str(saved), "--output_folder", str(scratch / "parts")]
    workers = ["--num_extract_workers", "1", "--num_merge_workers", "1"]
    done = subprocess.run(
        [*command, *folders, *workers, "--inject_missing_state"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"DeepSpeed cannot convert {saved} for another layout: {last}")


def read(scratch: Path, name: str, kind: str) -> Tensor:
    """Read one converted parameter, whole; from ZeRO 3 it comes bare and flat, from the others with its description."""
    stored = torch.load(scratch / "parts" / "zero" / name / f"{kind}.pt", map_location="cpu", weights_only=True)
    value: Tensor = stored["param"] if isinstance(stored, dict) else stored
    return value


def create_moments(engine: Any, *, step: int) -> None:
    """Give the optimizer its state, which it makes at its first update: moments to be filled, and updates done."""
    optimizer = engine.optimizer
    partitions = next(getattr(optimizer, name) for name in PARTITIONS if hasattr(optimizer, name))
    for partition in partitions:
        moments = {kind: torch.zeros_like(partition) for kind in MOMENTS}
        count = torch.tensor(float(step), dtype=torch.float32, device=partition.device)
        optimizer.optimizer.state[partition] = {"step": count, **moments}
    if hasattr(optimizer, "_lazy_init_hp_params_optimizer_state"):
        optimizer._lazy_init_hp_params_optimizer_state()


def restore(parameter: Any, whole: dict[str, Tensor]) -> None:
    """Set a parameter, its float32 weights and its moments from whole tensors, of which this process keeps its part."""
    is_partitioned = hasattr(parameter, "ds_id")  # ZeRO 3
    if is_partitioned:
        safe_set_local_fp32_param(parameter, own_part(parameter, whole[WEIGHT]))
        for kind in MOMENTS:
            safe_set_local_optimizer_state(parameter, own_part(parameter, whole[kind]), kind)
    else:
        safe_set_full_fp32_param(parameter, whole[WEIGHT].to(parameter.device))
        for kind in MOMENTS:
            safe_set_full_optimizer_state(parameter, whole[kind].to(parameter.device), kind)
    with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0, enabled=is_partitioned), torch.no_grad():
        parameter.copy_(whole[WEIGHT].view_as(parameter))


def own_group(engine: Any, scratch: Path, group: int) -> dict[str, Tensor]:
    """Read this process's part of a group of parameters at ZeRO 3, flat as it lies on a drive."""
    names = {id(parameter): name for name, parameter in engine.module.named_parameters()}
    parameters = engine.optimizer.fp16_groups[group]
    return {
        kind: torch.cat([own_part(each, read(scratch, names[id(each)], kind)).cpu() for each in parameters])
        for kind in (WEIGHT, *MOMENTS)
    }


def own_part(parameter: Any, whole: Tensor) -> Tensor:
    """Cut out this process's part of a parameter at ZeRO 3, padded as all parts are to the same length."""
    length = parameter.ds_tensor.ds_numel
    start = length * torch.distributed.get_rank()
    part = torch.zeros(length, dtype=whole.dtype)
    given = whole.flatten()[start : start + length]
    part[: len(given)] = given
    return part.to(parameter.ds_tensor.device)
