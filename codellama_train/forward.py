"""Run rows through the engine: the one place where training and validation call the model."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from codellama_train.recipe.training import TrainingRecipe


def forward_rows(
    engine: Any, input_ids: Tensor, labels: Tensor, positions: Tensor, *, recipe: TrainingRecipe
) -> tuple[Tensor, Tensor]:
    """Give the loss summed over predicted tokens, and each token's loss. All arguments: (batch, sequence)."""
    loss, losses = engine(input_ids, labels, positions if recipe.data.document_mask else None)
    return loss, losses
