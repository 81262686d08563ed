"""How a training recipe runs: its `[machine]` half, which may change at any resume."""

from __future__ import annotations

from typing import Literal

from codellama_train.recipe.loading import Positive, RecipeTable


class Wandb(RecipeTable):
    """Send metrics to Weights & Biases as well."""

    project: str
    mode: Literal["online", "offline"]


class Machine(RecipeTable):
    """How a recipe runs on the machine at hand; may change at any resume without changing what is learned."""

    zero_stage: Literal[1, 2, 3]
    sequences_per_device: Positive
    activation_checkpointing: bool
    log_every_steps: Positive
    save_every_steps: Positive
    keep_checkpoints: Positive
    wandb: Wandb | None = None
    tensorboard: bool = False  # event files in the run folder
