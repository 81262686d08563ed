"""Compare plans with what others published of training models of this kind: speed and memory, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from world_rows import SPEEDS, SpeedRow

from codellama_train.console import print_table
from codellama_train.planning.devices import parse_cluster
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


if __name__ == "__main__":
    print_speeds()
