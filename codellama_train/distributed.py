"""Processes that train together: start them, sum over them, hand objects around."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from torch import Tensor

from codellama_train.rendezvous import port_is_taken


@dataclass(frozen=True)
class Processes:
    """This process among its peers."""

    rank: int
    num_ranks: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Tell whether this process writes what all of them need once."""
        return self.rank == 0


def start_processes() -> Processes:
    """Join the processes that the launcher started; without a launcher, be a group of one."""
    if "RANK" not in os.environ:
        # Port 0: the system chooses a free one, so that several runs fit on a machine.
        alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        os.environ.update(alone)
    if not torch.cuda.is_available():
        # DeepSpeed calls functions that newer releases of torch have renamed; nobody here can act on that.
        warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
        # This operator is compiled at first use, for minutes, and a compile that was killed leaves a lock on which
        # every later run waits for ever. Training does not need it.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    try:
        deepspeed.init_distributed(verbose=False)
    except dist.DistNetworkError as error:
        if "EADDRINUSE" in str(error):
            raise port_is_taken() from error
        raise
    local_rank = int(os.environ["LOCAL_RANK"])
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
        device = torch.device("cuda", local_rank)
    else:
        device = torch.device("cpu")
    return Processes(rank=dist.get_rank(), num_ranks=dist.get_world_size(), device=device)


def summed(values: Tensor) -> Tensor:
    """Sum a tensor over all processes."""
    dist.all_reduce(values)
    return values


def gathered(value: Any) -> list[Any]:
    """Collect one object from every process, in rank order."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def from_first(value: Any) -> Any:
    """Give every process what the first one has."""
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def barrier() -> None:
    """Wait until every process is here."""
    dist.barrier()


def training_dtype(device: torch.device) -> torch.dtype:
    """Give the precision that a device multiplies in: bfloat16 where it can, else float32."""
    return torch.bfloat16 if supports_bfloat16(device) else torch.float32


def supports_bfloat16(device: torch.device) -> bool:
    """Tell whether the device multiplies in bfloat16; elsewhere training runs in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
