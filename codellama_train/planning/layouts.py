"""The ways to run a recipe on a cluster: those of its `[machine]` that make sense and fit, the recommended first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from codellama_train.console import UserError
from codellama_train.planning.devices import Cluster
from codellama_train.planning.memory import Memory, memory_of
from codellama_train.planning.shape import ModelShape
from codellama_train.planning.speed import StepTime, time_of
from codellama_train.planning.variants import (
    complexity,
    overrides_of,
    rows_per_device,
    runnable_variants,
    with_sequences,
)
from codellama_train.recipe.machine import Machine
from codellama_train.recipe.training import TrainingRecipe

SAME_SPEED = 0.02  # estimates do not tell such layouts apart, so the simplest of them is recommended


@dataclass(frozen=True)
class Layout:
    """A recipe with its `[machine]` as it would run, what it takes and how fast it is."""

    recipe: TrainingRecipe
    written: Machine  # the recipe's own
    memory: Memory
    time: StepTime

    @property
    def machine(self) -> Machine:
        """How it runs."""
        return self.recipe.machine

    @property
    def fits(self) -> bool:
        """Whether there is that much memory."""
        return not lacking(self.memory, self.time.cluster)

    @property
    def overrides(self) -> list[str]:
        """What the recipe's command line needs for this layout: the keys in which it differs from the recipe."""
        return overrides_of(self.written, self.machine)

    @property
    def days(self) -> float:
        """Days that the whole stage takes."""
        return self.time.seconds * self.recipe.steps / 86_400


def layouts(recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> list[Layout]:
    """Give what fits, as written and with the most sequences that do: the recommended first, then by speed."""
    fitting = [with_most_sequences(each, shape, cluster) for each in runnable_variants(recipe, shape, cluster)]
    found = [layout_of(each, recipe.machine, shape, cluster) for each in fitting if each is not None]
    with suppress(UserError):  # so many devices cannot run it as it is written
        written = layout_of(recipe, recipe.machine, shape, cluster)
        found += [written] if written.fits else []
    fastest = max((layout.time.tokens_per_second for layout in found), default=0.0)

    def rank(layout: Layout) -> tuple[Any, ...]:
        speed = layout.time.tokens_per_second
        return (
            (0, bool(layout.overrides), *complexity(layout.machine))
            if speed >= (1 - SAME_SPEED) * fastest
            else (1, -speed)
        )

    return sorted(found, key=rank)


def overview(found: Sequence[Layout], recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> list[Layout]:
    """Give a layout of each ZeRO stage, offload and number of devices per sequence: the best, or the most frugal."""
    best: dict[Any, Layout | TrainingRecipe] = {}
    for variant in runnable_variants(recipe, shape, cluster):
        best[_kind(variant.machine)] = variant  # the last of a kind keeps least
    for layout in reversed(found):
        best[_kind(layout.machine)] = layout
    return [
        each if isinstance(each, Layout) else layout_of(each, recipe.machine, shape, cluster) for each in best.values()
    ]


def _kind(machine: Machine) -> tuple[Any, ...]:
    return machine.zero_stage, machine.offload, machine.sequence_parallel


def layout_of(recipe: TrainingRecipe, written: Machine, shape: ModelShape, cluster: Cluster) -> Layout:
    """Say what a recipe takes as it stands."""
    memory = memory_of(recipe, shape, num_devices=cluster.num_devices)
    return Layout(recipe, written, memory, time_of(recipe, shape, cluster))


def with_most_sequences(recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> TrainingRecipe | None:
    """Give the recipe with the most sequences per device that fit: a power of two, or all; nothing where none does."""
    rows = rows_per_device(recipe, cluster)
    if not excess(at_once := with_sequences(recipe, rows), shape, cluster):
        return at_once  # may take less than half as many would: there are no gradients of several to sum
    choices = [1 << power for power in range((rows - 1).bit_length())]
    fewest, most = -1, len(choices)  # what fits, and what does not
    while most - fewest > 1:
        middle = (fewest + most) // 2
        fits = not excess(with_sequences(recipe, choices[middle]), shape, cluster)
        fewest, most = (middle, most) if fits else (fewest, middle)
    return None if fewest < 0 else with_sequences(recipe, choices[fewest])


def excess(recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> dict[str, int]:
    """Say how many bytes a recipe lacks of each memory; empty where it fits."""
    return lacking(memory_of(recipe, shape, num_devices=cluster.num_devices), cluster)


def lacking(memory: Memory, cluster: Cluster) -> dict[str, int]:
    """Say how many bytes are lacking of each memory; empty where there is enough."""
    needed = {
        "of each device's memory": memory.total - cluster.device.usable_bytes,
        "of the host's memory for each device": memory.host_total - cluster.host_bytes_per_device,
    }
    return {place: missing for place, missing in needed.items() if missing > 0}
