"""Where else metrics go if the recipe asks: Weights & Biases, TensorBoard. `metrics.jsonl` is written without them."""

from __future__ import annotations

import importlib.util
import logging
import secrets
from collections.abc import Iterator
from typing import Any, Protocol

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.recipe.training import TrainingRecipe

TENSORBOARD_DIR, WANDB_ID_FILE = "tensorboard", "wandb_id.txt"

logger = logging.getLogger(__name__)


class Tracker(Protocol):
    """Somewhere that metrics are sent to."""

    def log(self, values: dict[str, float], *, step: int) -> None:
        """Send the numbers of one step."""

    def finish(self) -> None:
        """Send what is still waiting."""


class Trackers:
    """All trackers of a recipe; one that fails is given up with a message, for training does not depend on it.

    A full disk, a lost network, a service that has died: what they raise has no common base.
    """

    def __init__(self, recipe: TrainingRecipe, *, resumed_step: int) -> None:
        self._trackers: dict[str, Tracker] = {}
        if recipe.machine.tensorboard:
            self._trackers["TensorBoard"] = _TensorBoard(recipe, resumed_step=resumed_step)
        if recipe.machine.wandb and (run := _start_wandb(recipe)):
            self._trackers["Weights & Biases"] = _Wandb(run)

    def log(self, record: dict[str, Any], *, step: int) -> None:
        """Send a record's numbers; nested ones by a path such as loss_by_source/code."""
        values = dict(numbers(record))
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.log(values, step=step)
            except Exception as error:  # noqa: BLE001
                self._give_up(name, error)

    def finish(self) -> None:
        """Close all trackers."""
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.finish()
            except Exception as error:  # noqa: BLE001
                self._give_up(name, error)

    def _give_up(self, name: str, error: Exception) -> None:
        del self._trackers[name]
        logger.error("%s has failed and gets no more metrics; metrics.jsonl has them all: %s", name, error)


def require_trackers(recipe: TrainingRecipe) -> None:
    """Refuse a recipe that asks for a tracker that is not installed."""
    if recipe.machine.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "machine.tensorboard = true needs the package tensorboard, which is not installed: "
            "pip install tensorboard, or remove the key"
        )


def numbers(record: dict[str, Any], path: str = "") -> Iterator[tuple[str, float]]:
    """Give a record's numbers, nested ones by their path; what is not known at a step is left out."""
    for key, value in record.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{path}{key}/")
        elif value is not None:
            yield f"{path}{key}", value


class _TensorBoard:
    """Event files in the run folder; points after a resumed step are hidden, since they come again."""

    def __init__(self, recipe: TrainingRecipe, *, resumed_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes seconds, and an extra package

        folder = recipe.run_dir / TENSORBOARD_DIR
        self._writer = SummaryWriter(str(folder), purge_step=resumed_step + 1)

    def log(self, values: dict[str, float], *, step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self) -> None:
        self._writer.close()


class _Wandb:
    """A run of Weights & Biases, whose name is the recipe's."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, values: dict[str, float], *, step: int) -> None:
        self._run.log(values, step=step)

    def finish(self) -> None:
        self._run.finish()


def _start_wandb(recipe: TrainingRecipe) -> Any:
    """Start or resume the run folder's own run there; None if that fails for no fault of a person."""
    import wandb  # takes seconds

    asked = recipe.machine.wandb
    assert asked is not None, "the recipe asks for Weights & Biases"
    id_path = recipe.run_dir / WANDB_ID_FILE
    if not id_path.is_file():  # a folder's own: by the recipe's name, a second run of it would continue the first one
        artifacts.write_text(id_path, secrets.token_hex(8))
    try:
        return wandb.init(
            project=asked.project,
            mode=asked.mode,
            name=recipe.name,
            dir=str(recipe.run_dir),
            id=id_path.read_text(encoding="utf-8"),
            resume="allow",
            config=recipe.model_dump(mode="json"),
        )
    except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
        raise UserError(f"machine.wandb: {error} Or set machine.wandb.mode=offline, or remove the table") from error
    except Exception as error:  # noqa: BLE001
        logger.error("training goes on without Weights & Biases, which could not be started: %s", error)
        return None
