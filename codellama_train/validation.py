"""Loss on held-out shards while training, of the same rows each time, however many ranks share them."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from codellama_train.distributed import Processes, summed
from codellama_train.forward import forward_rows
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.sequence_slices import share_of
from codellama_train.tokens.held_out_rows import held_out_rows, share_of_rank
from codellama_train.tokens.rows import IGNORED, Row, empty_row
from codellama_train.tokens.tokenizer import Tokenizer

logger = logging.getLogger(__name__)


class Validator:
    """The held-out rows of a recipe, each with the number of its source, and how many tokens they predict."""

    def __init__(self, recipe: TrainingRecipe, tokenizer: Tokenizer, processes: Processes) -> None:
        assert recipe.validation is not None, "the recipe asks for validation"
        self._recipe, self._table, self._processes = recipe, recipe.validation, processes
        self._share = share_of(processes, recipe.machine.sequence_parallel)
        self._padding = (0, empty_row(recipe.data.sequence_length, pad_id=tokenizer.eos_id))
        self._rows = [
            (index, row)
            for index, (name, folder) in enumerate(self._table.shards.items())
            for row in held_out_rows(
                name,
                folder,
                tokenizer=tokenizer,
                sequence_length=recipe.data.sequence_length,
                num_rows=self._table.sequences_per_source,
                document_mask=recipe.data.document_mask,
            )
        ]

    def is_due(self, step: int) -> bool:
        """Tell whether the model is to be measured after a step; it always is after the last."""
        return step % self._table.every_steps == 0 or step == self._recipe.steps

    @torch.no_grad()
    def measure(self, engine: Any) -> dict[str, float | None]:
        """Give nats per predicted token by source, None for a source without any; called by all processes together."""
        sums = torch.zeros(len(self._table.shards), dtype=torch.float64, device=self._processes.device)
        passes = share_of_rank(
            self._rows,
            rank=self._processes.rank // self._share.num_slices,
            num_ranks=self._processes.num_ranks // self._share.num_slices,
            rows_per_pass=self._recipe.machine.sequences_per_device,
            padding=self._padding,
        )
        engine.eval()
        for part in passes:
            sources = torch.tensor([index for index, _ in part], device=sums.device)
            sums.index_add_(0, sources, self._losses(engine, [row for _, row in part]))
        engine.train()  # in evaluation mode activation checkpointing does nothing
        totals = summed(sums).tolist()
        return {name: self._mean(name, index, totals[index]) for index, name in enumerate(self._table.shards)}

    def _losses(self, engine: Any, rows: Sequence[Row]) -> torch.Tensor:
        """Give the summed loss of each row, of this process's slice where sequences are shared."""
        input_ids, labels, positions = (
            torch.from_numpy(np.stack([getattr(row, name) for row in rows])).to(self._processes.device)
            for name in ("input_ids", "labels", "positions")
        )
        own = self._share.columns(input_ids.shape[1])
        _, losses = forward_rows(engine, input_ids[:, own], labels[:, own], positions, recipe=self._recipe)
        return losses.double().sum(dim=1)

    def _mean(self, name: str, index: int, total: float) -> float | None:
        num_predicted = sum(int((row.labels != IGNORED).sum()) for source, row in self._rows if source == index)
        if not math.isfinite(total):
            logger.warning("the validation loss of %s is not finite", name)
            return None
        return total / num_predicted if num_predicted else None
