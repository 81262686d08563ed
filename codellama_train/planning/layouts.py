"""The ways to run a recipe on a cluster: those of its `[machine]` that make sense and fit, the recommended first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import ValidationError

from codellama_train.console import UserError
from codellama_train.planning.devices import Cluster
from codellama_train.planning.memory import Memory, memory_of
from codellama_train.planning.shape import ModelShape
from codellama_train.planning.speed import StepTime, time_of
from codellama_train.recipe.machine import Machine
from codellama_train.recipe.training import TrainingRecipe, sequence_groups, sequences_per_rank

SAME_SPEED = 0.02  # estimates do not tell such layouts apart, so the simplest of them is recommended
TILE_TOKENS = 4_096  # rows enough to keep a device busy with each product of matrices
MOST_DEVICES = 8_192


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


def rows_per_device(recipe: TrainingRecipe, cluster: Cluster) -> int:
    """Count the sequences that each group of devices runs in a step."""
    groups = sequence_groups(cluster.num_devices, recipe.machine.sequence_parallel)
    return sequences_per_rank(recipe.sequences_per_step, groups)


def with_sequences(recipe: TrainingRecipe, number: int) -> TrainingRecipe:
    """Give the recipe with so many sequences per device, which no rule forbids."""
    return recipe.model_copy(update={"machine": recipe.machine.model_copy(update={"sequences_per_device": number})})


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


def nearest_to_fit(recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> Layout:
    """Give the layout that lacks least where none fits."""
    tried = [layout_of(each, recipe.machine, shape, cluster) for each in runnable_variants(recipe, shape, cluster)]
    return min(tried, key=lambda layout: sum(lacking(layout.memory, cluster).values()))


def fewest_devices(recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> int | None:
    """Search the fewest devices of this kind that some layout fits on: part of a node, else whole nodes."""
    node = cluster.device.devices_per_node
    numbers = [number for number in range(1, node) if node % number == 0]
    numbers += [node << power for power in range((MOST_DEVICES // node).bit_length())]
    enough = next((number for number in numbers if any_fits(recipe, shape, cluster.of(number))), None)
    if enough is None or enough <= 2 * node:
        return enough
    few = enough // 2
    while enough - few > node:
        middle = (few + enough) // 2 // node * node
        few, enough = (few, middle) if any_fits(recipe, shape, cluster.of(middle)) else (middle, enough)
    return enough


def fewest_nodes(layout: Layout, shape: ModelShape) -> int:
    """Count the nodes that this very layout needs, as when some of them fail."""
    cluster = layout.time.cluster
    numbers = range(1, cluster.num_nodes)
    smaller = (cluster.of(number * cluster.device.devices_per_node) for number in numbers)
    return next((each.num_nodes for each in smaller if can_run(layout.recipe, shape, each)), cluster.num_nodes)


def can_run(recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> bool:
    """Say whether a recipe fits as it stands, with devices that divide its sequences."""
    try:
        return not excess(recipe, shape, cluster)
    except UserError:
        return False


def any_fits(recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> bool:
    """Say whether any layout fits on a cluster."""
    try:
        return any(not excess(each, shape, cluster) for each in runnable_variants(recipe, shape, cluster))
    except UserError:  # so many devices do not divide the sequences
        return False


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
