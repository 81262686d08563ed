"""Moving optimizer state and weights out of the devices' memory, in DeepSpeed's words."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from deepspeed.ops.op_builder import AsyncIOBuilder
from torch import nn
from torch.utils.cpp_extension import _get_build_directory

from codellama_train.console import UserError
from codellama_train.recipe.machine import Machine
from codellama_train.recipe.training import TrainingRecipe


def require_drive(machine: Machine) -> None:
    """Refuse a drive that is not there or that this machine cannot read, and waiting for a build that nobody does."""
    if machine.offload is None or machine.offload.nvme_path is None:
        return
    if not machine.offload.nvme_path.is_dir():
        raise UserError(
            f"machine.offload.nvme_path={str(machine.offload.nvme_path)!r} is no folder; make one on the drive to use"
        )
    if not AsyncIOBuilder().is_compatible(verbose=False):
        raise UserError(
            'machine.offload: "nvme" needs the library libaio and its headers: apt-get install libaio-dev (or dnf '
            'install libaio-devel), or say "cpu"'
        )
    lock = Path(_get_build_directory(AsyncIOBuilder.NAME, verbose=False)) / "lock"
    if lock.exists():
        raise UserError(
            f"{lock} says that a program is compiling what DeepSpeed reads drives with, and the run would wait for it; "
            "wait until it has, or remove the file if it was interrupted"
        )


def memory_settings(recipe: TrainingRecipe) -> dict[str, Any]:
    """Derive the part of DeepSpeed's configuration that says what is cut up over devices and what leaves them."""
    offload = recipe.machine.offload
    zero: dict[str, Any] = {"stage": recipe.machine.zero_stage}
    if offload is None:
        return {"zero_optimization": zero}
    for kind, place in (("offload_optimizer", offload.optimizer), ("offload_param", offload.parameters)):
        if place is not None:
            zero[kind] = {"device": place, "pin_memory": torch.cuda.is_available()}
            if place == "nvme":
                zero[kind]["nvme_path"] = str(own_folder(offload.nvme_path, recipe.run_dir))
    # torch's fused AdamW updates on the processor as well; DeepSpeed's own would first be compiled, for minutes.
    return {"zero_optimization": zero, "zero_force_ds_cpu_optimizer": False}


def own_folder(nvme_path: Path | None, run_dir: Path) -> Path:
    """Give a run a folder of its own on the drive; DeepSpeed's file names are the same in every run."""
    assert nvme_path is not None, "the recipe has been checked"
    return nvme_path / f"{run_dir.name}-{hashlib.sha256(str(run_dir.resolve()).encode()).hexdigest()[:12]}"


def fit_buffers(settings: dict[str, Any], model: nn.Module, *, num_ranks: int) -> None:
    """Make the buffers through which weights go to a drive as large as the largest part that a process holds."""
    zero = settings["zero_optimization"]
    if zero.get("offload_param", {}).get("device") == "nvme":
        largest = max(getattr(weight, "ds_numel", weight.numel()) for weight in model.parameters())
        zero["offload_param"]["buffer_size"] = -(-largest // num_ranks)
