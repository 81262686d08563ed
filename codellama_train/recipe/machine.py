"""How a training recipe runs: its `[machine]` half, which may change at any resume."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from codellama_train.recipe.loading import Positive, RecipeTable


class Wandb(RecipeTable):
    """Send metrics to Weights & Biases as well."""

    project: str
    mode: Literal["online", "offline"]


class Offload(RecipeTable):
    """What leaves the devices' memory, and for where; what is not named stays on the device."""

    optimizer: Literal["cpu", "nvme"] | None = None  # float32 weights and moments
    parameters: Literal["cpu", "nvme"] | None = None
    nvme_path: Path | None = None

    model_config = RecipeTable.model_config | {"strict": False}  # paths come as text

    @model_validator(mode="after")
    def _nvme_has_a_path(self) -> Offload:
        uses_nvme = "nvme" in (self.optimizer, self.parameters)
        if uses_nvme and self.nvme_path is None:
            raise ValueError('machine.offload.nvme_path is missing: "nvme" needs a folder on the drive to use')
        if not uses_nvme and self.nvme_path is not None:
            raise ValueError(
                f"machine.offload.nvme_path={str(self.nvme_path)!r} is used by nothing: remove it, or set "
                'machine.offload.optimizer or machine.offload.parameters to "nvme"'
            )
        return self

    @model_validator(mode="after")
    def _small_before_large(self) -> Offload:
        if self.parameters == "nvme" and self.optimizer != "nvme":
            raise ValueError(
                'machine.offload.parameters="nvme" needs machine.offload.optimizer="nvme": the optimizer holds six '
                "times the bytes of the weights"
            )
        return self


class Machine(RecipeTable):
    """How a recipe runs on the machine at hand; may change at any resume without changing what is learned."""

    zero_stage: Literal[1, 2, 3]
    sequences_per_device: Positive
    activation_checkpointing: bool
    offload: Offload | None = None
    compile: bool = False
    kernels: Literal["liger"] | None = None
    sequence_parallel: Positive = 1  # devices that share each sequence
    mlp_tile_tokens: Positive | None = None  # tokens whose feed-forward activations exist at once; None means all
    log_every_steps: Positive
    save_every_steps: Positive
    keep_checkpoints: Positive
    wandb: Wandb | None = None
    tensorboard: bool = False  # event files in the run folder

    @model_validator(mode="after")
    def _stage_can_offload(self) -> Machine:
        offload = self.offload
        if offload is not None and self.zero_stage != 3 and (offload.parameters or offload.optimizer == "nvme"):
            key = "parameters" if offload.parameters else "optimizer"
            raise ValueError(
                f'machine.offload.{key}="{getattr(offload, key)}" needs machine.zero_stage=3, not {self.zero_stage}: '
                "only there are weights cut up over devices and updated group by group"
            )
        return self

    @model_validator(mode="after")
    def _compiles_alone(self) -> Machine:
        if self.compile and self.kernels is not None:
            raise ValueError(
                f"machine.compile=true and machine.kernels={self.kernels!r} fuse the same operations; choose one"
            )
        if self.compile and (self.sequence_parallel > 1 or self.mlp_tile_tokens):
            key = "sequence_parallel" if self.sequence_parallel > 1 else "mlp_tile_tokens"
            raise ValueError(
                f"machine.compile=true and machine.{key}={getattr(self, key)} exclude each other: layers are compiled "
                "in one piece, which the other cuts; choose one"
            )
        if self.compile and self.zero_stage == 3:
            raise ValueError(
                "machine.compile=true needs machine.zero_stage=1 or 2: stage 3 gathers each module's weights by code "
                "that cannot be compiled, which leaves nothing in one piece"
            )
        return self
