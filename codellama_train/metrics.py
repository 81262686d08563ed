"""The record of a run: one JSON line per logged step, always, and trackers if the recipe asks."""

from __future__ import annotations

import json
import logging
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codellama_train import artifacts
from codellama_train.console import format_seconds
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import METRICS_FILE
from codellama_train.tokens.rows import IGNORED
from codellama_train.trackers import Trackers

logger = logging.getLogger(__name__)


class LossSums:
    """Loss and number of predicted tokens per source, and inside and outside infilled documents.

    One row per source, then one for infilled and one for plain documents; columns are summed loss and count.
    """

    def __init__(self, num_sources: int, device: torch.device) -> None:
        self._num_sources = num_sources
        self.values = torch.zeros(num_sources + 2, 2, dtype=torch.float64, device=device)

    def add(self, losses: Tensor, labels: Tensor, *, source: Tensor, infilled: Tensor) -> None:
        """Add tokens. All arguments: (batch, sequence)."""
        predicted = labels != IGNORED
        for group in (source, self._num_sources + (~infilled).long()):
            index = group.long()[predicted]
            self.values[:, 0].index_add_(0, index, losses[predicted].double())
            self.values[:, 1].index_add_(0, index, torch.ones_like(index, dtype=torch.float64))

    def total_loss(self) -> float:
        """Give the loss summed over every predicted token."""
        return float(self.values[: self._num_sources, 0].sum())

    def as_record(self, source_names: Sequence[str]) -> dict[str, Any]:
        """Give mean losses in nats per predicted token; None where no token was predicted."""
        sums = self.values.cpu().numpy()
        means = [loss / count if count else None for loss, count in sums]
        totals = sums[: self._num_sources].sum(axis=0)
        return {
            "loss": totals[0] / totals[1],
            "loss_by_source": dict(zip(source_names, means, strict=False)),
            "loss_infilled": means[-2],
            "loss_plain": means[-1],
        }


class MetricsLog:
    """Writes metrics.jsonl, the console line and the trackers; only the first process has one."""

    def __init__(self, recipe: TrainingRecipe, *, resumed_step: int) -> None:
        self._recipe = recipe
        self._path = recipe.run_dir / METRICS_FILE
        self._started = time.monotonic()
        self._first_step = resumed_step
        keep_until(self._path, resumed_step)
        self._trackers = Trackers(recipe, resumed_step=resumed_step)

    def write(self, record: dict[str, Any]) -> None:
        """Append one record and say it to the person who waits."""
        record = {key: plain_number(value) for key, value in record.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")
        self._trackers.log(record, step=record["step"])
        logger.info("%s", self._line(record))

    def finish(self) -> None:
        """Close the trackers."""
        self._trackers.finish()

    def _line(self, record: dict[str, Any]) -> str:
        steps_left = self._recipe.steps - record["step"]
        seconds = (time.monotonic() - self._started) / max(record["step"] - self._first_step, 1)
        mfu = "" if record["mfu"] is None else f"MFU {record['mfu']:.1%}  "
        held_out = (record["validation_loss_by_source"] or {}) if "validation_loss_by_source" in record else {}
        validation = ", ".join(f"{name} {loss:.3f}" for name, loss in held_out.items() if loss is not None)
        return (
            f"{self._recipe.name} step {record['step']:,}/{self._recipe.steps:,}  loss {record['loss']:.3f}  "
            + (f"held out: {validation}  " if validation else "")
            + f"rate {record['learning_rate']:.2e}  norm {record['gradient_norm']:.2f}  "
            f"{record['tokens_per_second']:,.0f} tokens/s  {mfu}{format_seconds(steps_left * seconds)} left"
        )


def plain_number(value: Any) -> Any:
    """Turn NumPy numbers into Python's, and round what a person would not read."""
    if isinstance(value, dict):
        return {key: plain_number(item) for key, item in value.items()}
    if isinstance(value, float | np.floating):
        return float(f"{value:.7g}")
    return int(value) if isinstance(value, np.integer) else value


def keep_until(path: Path, step: int) -> None:
    """Drop records after `step`: a resumed run writes them again."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]  # a killed writer may leave part of a last line
        artifacts.write_text(path, "".join(line for line in whole if json.loads(line)["step"] <= step))


def peak_memory_bytes(device: torch.device) -> int:
    """Give the most memory this process has used: of the device on CUDA, resident elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
