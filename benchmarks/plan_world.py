"""Compare plans with what others published of training models of this kind: speed and memory, row by row."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from world_memories import MEMORIES, MemoryRow
from world_speeds import SPEEDS, SpeedRow

from codellama_train.console import print_table
from codellama_train.planning.devices import parse_cluster
from codellama_train.planning.memory import ALLOWANCE, phases_of
from codellama_train.planning.memory_activations import BF16, FP32
from codellama_train.planning.memory_states import Sizes, sizes_of
from codellama_train.planning.speed import StepTime, time_of
from codellama_train.recipe.training import TrainingRecipe


def recipe_of(
    *, rows: int, length: int, machine: Mapping[str, Any], lora: Mapping[str, Any] | None = None
) -> TrainingRecipe:
    """Give a recipe of so many sequences per step; what the plan does not look at is anything."""
    optimizer = {
        "peak_learning_rate": 1e-4,
        "final_learning_rate_fraction": 0.1,
        "warmup_steps": 0,
        "betas": (0.9, 0.95),
    }
    often = {"sequences_per_device": 1, "log_every_steps": 1, "save_every_steps": 1, "keep_checkpoints": 1}
    sources = {"text": {"shards": "nowhere", "share": 1.0}}
    return TrainingRecipe.model_validate(
        {
            "name": "row",
            "model": {"init_from": "nowhere", "rope_theta": 1e4},
            "data": {"sequence_length": length, "seed": 0, "sources": sources},
            "batch": {"tokens_per_step": rows * length, "total_tokens": rows * length},
            "optimizer": optimizer | {"epsilon": 1e-8, "weight_decay": 0.1, "gradient_clipping": 1.0},
            "lora": None if lora is None else dict(lora),
            "machine": often | dict(machine),
        }
    )


def foretold_speed(row: SpeedRow) -> StepTime:
    """Give the plan's time of a step for a row."""
    cluster = parse_cluster(row.devices)
    recipe = recipe_of(
        rows=cluster.num_devices * row.sequences * row.micro_steps,
        length=row.length,
        machine={**row.machine, "sequences_per_device": row.sequences},
        lora=row.lora,
    )
    return time_of(recipe, row.shape, cluster)


def foretold_bytes(row: MemoryRow) -> int:
    """Give the bytes that a plan foretells for a row's setting, of the plan's own parts where both do the same."""
    cluster = parse_cluster(row.devices)
    slices = row.machine.get("sequence_parallel", 1)
    recipe = recipe_of(
        rows=cluster.num_devices // slices * row.sequences * row.micro_steps,
        length=row.length,
        machine={**row.machine, "sequences_per_device": row.sequences},
        lora=row.lora,
    )
    phases = phases_of(recipe, row.shape, num_devices=cluster.num_devices, on_gpu=True)
    sizes = sizes_of(recipe, row.shape, num_devices=cluster.num_devices, on_gpu=True)
    peak = max(sum(changed(row, name, parts, sizes).values()) for name, parts in phases.items())
    return round(peak if row.is_limit else (1 + ALLOWANCE) * peak)


def ratio_of(row: MemoryRow) -> float:
    """Give the plan's memory as a multiple of what was published."""
    assert row.gigabytes is not None, row
    return foretold_bytes(row) / 1e9 / row.gigabytes


def is_right(row: MemoryRow) -> bool:
    """Say whether a plan says rightly that a row's setting fits, or does not."""
    return (foretold_bytes(row) <= parse_cluster(row.devices).device.usable_bytes) == row.fits


def changed(row: MemoryRow, phase: str, parts: Mapping[str, int], sizes: Sizes) -> dict[str, float]:
    """Put in place of the plan's parts at a moment those that differ in a row's setting."""
    tokens = row.sequences * row.length // row.machine.get("sequence_parallel", 1)
    changed: dict[str, float] = dict(parts)
    if row.logit_bytes is not None:
        at_loss = phase in ("end of the forward pass", "start of the backward pass")
        changed["logits"] = row.logit_bytes * tokens * row.shape.vocab_size if at_loss else 0
    if row.state_bytes is not None:
        changed = {name: size for name, size in changed.items() if name in ("activations", "logits")}
        changed["states"] = sizes.frozen_bytes + row.state_bytes * sizes.trained
    if "activations" in changed:
        changed["activations"] += row.kept_bytes * row.shape.num_layers * tokens
    if row.offloads_activations and "activations" in changed:
        changed["activations"] -= row.shape.num_layers * tokens * BF16 * row.shape.hidden_size
    if "accumulated gradients" in changed:
        changed["accumulated gradients"] *= row.sums_bytes / FP32
    return changed | dict(row.others)


def print_memories() -> None:
    """Print what others' trainings took of a device, or that they fitted, and what a plan says of their settings."""
    rows = []
    for row in MEMORIES:
        foretold = foretold_bytes(row)
        ratio = f"{ratio_of(row):.2f}" if row.gigabytes else ""
        stated = f"{row.gigabytes:.1f}" if row.gigabytes else ""
        said = ["fits" if row.fits else "does not fit", "right" if is_right(row) else "wrong"]
        gate = "" if row.within is None else f"within {row.within:.0%}"
        rows.append([row.source, row.devices, row.length, *said, stated, f"{foretold / 1e9:.1f}", ratio, gate])
    columns = ["who", "devices", "length", "published", "planned", "published GB", "planned GB", "ratio", "gate"]
    print_table("memory of a device", columns, rows)


def print_speeds() -> None:
    """Print how fast others were and what a plan says of their settings."""
    rows = []
    for row in SPEEDS:
        foretold = foretold_speed(row).tokens_per_second_per_device
        rows.append(
            [
                row.source,
                row.devices,
                row.length,
                row.tokens_per_second,
                round(foretold),
                f"{foretold / row.tokens_per_second:.2f}",
            ]
        )
    print_table("tokens/s of a device", ["who", "devices", "length", "published", "planned", "ratio"], rows)


def main() -> None:
    """Print both tables; fail where a plan is wrong of what states its memory, or too far off where it must not be."""
    print_memories()
    print_speeds()
    wrong = [row for row in MEMORIES if not is_right(row)]
    far = [row for row in MEMORIES if row.within and row.gigabytes and abs(ratio_of(row) - 1) > row.within]
    right = len(MEMORIES) - len(wrong)
    print(f"{right} of {len(MEMORIES)} are said rightly to fit or not to fit; {len(far)} are too far off")
    sys.exit(1 if far or any(row.gigabytes for row in wrong) else 0)


if __name__ == "__main__":
    main()
