"""A plan in tables: what a stage takes as it is written, how else it could run, what is recommended and its cost."""

from __future__ import annotations

from collections.abc import Sequence

from codellama_train.console import format_seconds, print_line, print_table
from codellama_train.planning import assumptions
from codellama_train.planning.cost import (
    CARBON_KG_PER_GPU_HOUR,
    PAPER_HOURS,
    POWER_USAGE_EFFECTIVENESS,
    Cost,
    llama_2_hours,
)
from codellama_train.planning.devices import GIB, Cluster
from codellama_train.planning.layouts import Layout
from codellama_train.planning.memory import Memory
from codellama_train.planning.shape import ModelShape, trained_parameters
from codellama_train.recipe.machine import Machine
from codellama_train.recipe.training import TrainingRecipe

SUMS = "accumulated gradients"
KIND = ["ZeRO", "offload", "shared by"]


def print_stage(recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> None:
    """Print what is to be trained, and on what."""
    device, node = cluster.device, cluster.device.node
    facts: list[tuple[str, object]] = [
        ("parameters", shape.num_parameters),
        ("trained parameters", trained_parameters(recipe, shape)),
        ("tokens", recipe.steps * recipe.batch.tokens_per_step),
        ("steps", recipe.steps),
        ("sequences per step", f"{recipe.sequences_per_step:,} of {recipe.data.sequence_length:,} tokens"),
        ("device", f"{device.peak_flops / 1e12:,.4g} TFLOPS in dense bfloat16, {device.watts:,} W ({device.source})"),
        ("nodes", f"{cluster.num_nodes:,} ({node.description})"),
        ("memory for tensors on a device, GiB", gib(device.usable_bytes)),
        ("memory of the host for each device, GiB", gib(cluster.host_bytes_per_device)),
    ]
    print_table(f"{recipe.name} on {cluster}", ["", "value"], facts)


def print_memory(columns: dict[str, Layout]) -> None:
    """Print by part what a device and its host hold in each of the layouts."""
    memories = [layout.memory for layout in columns.values()]
    names = part_names(memories)
    hosted = dict.fromkeys(name for memory in memories for name in memory.host_parts)
    rows: list[list[object]] = [[name, *(gib(memory.parts.get(name, 0)) for memory in memories)] for name in names]
    rows.append(["all on a device", *(gib(memory.total) for memory in memories)])
    rows += [
        [f"in the host's: {name}", *(gib(memory.host_parts.get(name, 0)) for memory in memories)] for name in hosted
    ]
    rows.append(["fits", *("yes" if layout.fits else "no" for layout in columns.values())])
    rows.append(["tokens/s", *(round(layout.time.tokens_per_second) for layout in columns.values())])
    rows.append(["time", *(duration(layout.days) for layout in columns.values())])
    print_table("memory per device, GiB", ["", *columns], rows)


def print_layouts(layouts: Sequence[Layout]) -> None:
    """Print the layouts by ZeRO stage, offload and devices per sequence: how fast they are and what they take."""
    speeds = [
        [
            *kind(layout.machine),
            recomputed(layout.machine),
            layout.machine.sequences_per_device if layout.fits else "none",
            gib(layout.memory.total),
            gib(layout.memory.host_total),
            round(layout.time.tokens_per_second) if layout.fits else "",
            duration(layout.days) if layout.fits else "",
        ]
        for layout in layouts
    ]
    columns = ["recomputed", "sequences", "GiB", "host GiB", "tokens/s", "time"]
    print_table(
        "layouts by ZeRO stage, offload and devices that share a sequence, with the most sequences that fit",
        [*KIND, *columns],
        speeds,
    )
    names = part_names([layout.memory for layout in layouts])
    names = [name for name in names if name != SUMS]
    parts = [[*kind(layout.machine), *(gib(part_of(layout.memory, name)) for name in names)] for layout in layouts]
    print_table("GiB that they take of each device, by part", [*KIND, *names], parts)


def part_names(memories: Sequence[Memory]) -> list[str]:
    """List the parts of any of these, in the order in which people ask for them."""
    first = ("weights", "gradients", SUMS, "optimizer", "activations", "logits", "buffers")
    found = dict.fromkeys(name for memory in memories for name in memory.parts)
    return [*first, *(name for name in found if name not in first)]


def part_of(memory: Memory, name: str) -> int:
    """Give a part's bytes; gradients with the sums that they are added to."""
    return memory.parts.get(name, 0) + (memory.parts.get(SUMS, 0) if name == "gradients" else 0)


def kind(machine: Machine) -> list[object]:
    """Give what the table of layouts is ordered by."""
    return [machine.zero_stage, offload_of(machine), machine.sequence_parallel]


def print_recommended(layout: Layout, shape: ModelShape, cost: Cost) -> None:
    """Print the time of the recommended layout by part and what the stage costs."""
    time, cluster = layout.time, layout.time.cluster
    tokens = layout.recipe.steps * layout.recipe.batch.tokens_per_step
    facts: list[tuple[str, object]] = [
        ("layout", describe(layout.machine)),
        ("seconds of a step", time.seconds),
        *((f"of these, {part}", seconds) for part, seconds in time.parts.items() if seconds),
        ("tokens/s", round(time.tokens_per_second)),
        ("tokens/s of a device", round(time.tokens_per_second_per_device)),
        ("MFU", f"{time.mfu:.1%}"),
        ("time without validation and saving", duration(layout.days)),
        ("device hours", short(cost.device_hours)),
        ("cost", "give --price-per-hour" if cost.dollars is None else short(cost.dollars)),
        ("energy, kWh", f"{short(cost.kilowatt_hours)} ({cluster.device.watts:,} W x {POWER_USAGE_EFFECTIVENESS} PUE)"),
        (f"carbon at Meta's {CARBON_KG_PER_GPU_HOUR} kg an hour, kg", short(cost.carbon_kg)),
    ]
    if layout.recipe.lora is None and (same := llama_2_hours(shape, num_tokens=tokens)) is not None:
        facts.append((f"A100-80 hours at the rate of Llama 2 {same[0]}'s card", same[1]))
    print_table("recommended", ["", "value"], facts)
    if layout.recipe.lora is None:
        print_line(PAPER_HOURS)


def print_assumptions(layout: Layout) -> None:
    """Print what the times assume."""
    rows = [(one.value, one.meaning, one.source) for one in assumptions.used_by(layout.recipe, layout.time.cluster)]
    print_table("assumptions", ["value", "", "from"], rows)


def describe(machine: Machine) -> str:
    """Say a layout in words."""
    number = machine.sequences_per_device
    parts = [f"ZeRO {machine.zero_stage}", f"{number} sequence{'s' if number > 1 else ''} on a device"]
    parts += [f"{machine.sequence_parallel} devices a sequence"] if machine.sequence_parallel > 1 else []
    parts += [f"{recomputed(machine)} recomputed"] if recomputed(machine) else []
    return ", ".join(parts + ([f"offload: {offload_of(machine)}"] if machine.offload else []))


def offload_of(machine: Machine) -> str:
    """Say what leaves the devices: the optimizer, or both it and the weights; unless said, for the host."""
    if machine.offload is None:
        return ""
    places = {"optimizer": machine.offload.optimizer, "parameters": machine.offload.parameters}
    if set(places.values()) == {"cpu"}:
        return "both"
    return ", ".join(what if place == "cpu" else f"{what} ({place})" for what, place in places.items() if place)


def recomputed(machine: Machine) -> str:
    """Say what is computed again in backward instead of being kept."""
    parts = ["layers"] if machine.activation_checkpointing else []
    return ", ".join(parts + ([f"tiles of {machine.mlp_tile_tokens:,}"] if machine.mlp_tile_tokens else []))


def duration(days: float) -> str:
    """Write a stage's time: days, or less where it is less."""
    return f"{short(days)} days" if days >= 2 else format_seconds(days * 86_400)


def short(number: float) -> str:
    """Write a number without decimals that nobody can foretell."""
    return f"{number:,.0f}" if number >= 100 else f"{number:,.3g}"


def gib(number: int) -> str:
    """Write bytes in GiB."""
    return f"{number / GIB:,.1f}"
