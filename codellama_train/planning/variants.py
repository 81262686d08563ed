"""The `[machine]` settings that make sense for a recipe on a cluster, and the command line that asks for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

from pydantic import ValidationError

from codellama_train.console import UserError
from codellama_train.planning.devices import Cluster
from codellama_train.planning.shape import ModelShape
from codellama_train.recipe.machine import Machine
from codellama_train.recipe.training import TrainingRecipe, sequence_groups, sequences_per_rank

TILE_TOKENS = 4_096  # rows enough to keep a device busy with each product of matrices


def variants(recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> Iterator[TrainingRecipe]:
    """Give the recipe in every layout that makes sense, one sequence per device; the rest its own rules refuse."""
    slices = sequence_slices(recipe, shape, cluster)
    return from_choices(recipe, product((1, 2, 3), offloads(recipe), slices, (False, True), tile_sizes(recipe)))


def from_choices(recipe: TrainingRecipe, choices: Iterable[tuple[Any, ...]]) -> Iterator[TrainingRecipe]:
    """Give the recipe with those choices for `[machine]` that its rules allow."""
    for stage, offload, slices, checkpointing, tiles in choices:
        changes: dict[str, Any] = {
            "zero_stage": stage,
            "offload": offload,
            "sequence_parallel": slices,
            "activation_checkpointing": checkpointing,
            "mlp_tile_tokens": tiles,
            "sequences_per_device": 1,
        }
        # Where what is compiled cannot be cut up, a recipe that asks for both is run without compiling.
        variant = changed(recipe, changes) or changed(recipe, changes | {"compile": False})
        if variant is not None:
            yield variant


def offloads(recipe: TrainingRecipe) -> list[dict[str, Any] | None]:
    """Give what may leave the devices; for a drive only where the recipe names one."""
    places: list[dict[str, Any] | None] = [None, {"optimizer": "cpu"}, {"optimizer": "cpu", "parameters": "cpu"}]
    path = recipe.machine.offload.nvme_path if recipe.machine.offload else None
    if path is not None:
        drive = {"optimizer": "nvme", "nvme_path": path}
        places += [drive, drive | {"parameters": "cpu"}, drive | {"parameters": "nvme"}]
    return places


def sequence_slices(recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> list[int]:
    """Give the numbers of neighbouring devices of one node that can share sequences evenly."""
    together = min(cluster.num_devices, cluster.device.devices_per_node)
    shared = (cluster.num_devices, shape.num_heads, recipe.data.sequence_length, together)
    return [slices for slices in range(1, together + 1) if not any(number % slices for number in shared)]


def tile_sizes(recipe: TrainingRecipe) -> list[int | None]:
    """Give the sizes of the feed-forward part's tiles: none, and one where a sequence is longer than it."""
    size = recipe.machine.mlp_tile_tokens or TILE_TOKENS
    return [None, size] if size < recipe.data.sequence_length else [None]


def changed(recipe: TrainingRecipe, changes: dict[str, Any]) -> TrainingRecipe | None:
    """Give the recipe with another `[machine]`, or nothing where its rules refuse it."""
    try:
        machine = Machine.model_validate(recipe.machine.model_dump() | changes)
        return TrainingRecipe.model_validate(dict(recipe) | {"machine": machine})
    except ValidationError:
        return None


def runnable_variants(recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> list[TrainingRecipe]:
    """Give the layouts in which the devices divide the recipe's sequences well enough; refused where none does."""
    runnable = []
    refusal: UserError | None = None
    for variant in variants(recipe, shape, cluster):
        try:
            rows_per_device(variant, cluster)
        except UserError as error:
            refusal = refusal or error
        else:
            runnable.append(variant)
    if refusal is not None and not runnable:
        raise refusal
    return runnable


def rows_per_device(recipe: TrainingRecipe, cluster: Cluster) -> int:
    """Count the sequences that each group of devices runs in a step."""
    groups = sequence_groups(cluster.num_devices, recipe.machine.sequence_parallel)
    return sequences_per_rank(recipe.sequences_per_step, groups)


def with_sequences(recipe: TrainingRecipe, number: int) -> TrainingRecipe:
    """Give the recipe with so many sequences per device, which no rule forbids."""
    return recipe.model_copy(update={"machine": recipe.machine.model_copy(update={"sequences_per_device": number})})


def complexity(machine: Machine) -> tuple[int, ...]:
    """Order layouts of equal speed: what leaves the device least, shares least, recomputes least comes first."""
    offloaded = (
        0 if machine.offload is None else sum(map(bool, (machine.offload.optimizer, machine.offload.parameters)))
    )
    return (
        offloaded,
        machine.sequence_parallel,
        bool(machine.mlp_tile_tokens),
        machine.zero_stage,
        machine.activation_checkpointing,
        machine.sequences_per_device,
    )


def overrides_of(written: Machine, chosen: Machine) -> list[str]:
    """Write as `key=value` what of the chosen `[machine]` the written one does not say; without a value, it goes."""
    before, after = written.model_dump(mode="json"), chosen.model_dump(mode="json")
    return list(differences(before, after, "machine"))


def differences(before: dict[str, Any], after: dict[str, Any], table: str) -> Iterable[str]:
    """Compare two tables key by key."""
    for key, value in after.items():
        if value == before.get(key):
            continue
        if isinstance(value, dict):
            yield from differences(before.get(key) or {}, value, f"{table}.{key}")
        else:
            yield f"{table}.{key}=" + (
                "" if value is None else str(value).lower() if value in (True, False) else str(value)
            )
