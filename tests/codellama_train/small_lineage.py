"""A small lineage and a small cluster, planned: what the tests of launching launch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from launching import RECIPE

from codellama_train.planning.devices import Cluster, parse_cluster
from codellama_train.planning.launching import launch_files, write_launch_files
from codellama_train.planning.launching_stages import PlannedStage
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe

STAGES = ("base", "python", "long")  # the last two start from the first


def write_lineage(folder: Path, *, data: Path, base_steps: int = 12) -> list[Path]:
    """Write three recipes, two of which start from the first, which takes so many steps of 256 tokens."""
    runs, data_folder = (json.dumps(str(path))[1:-1] for path in (folder / "runs", data))  # TOML escapes as JSON does
    text = RECIPE.format(runs=runs, data=data_folder)
    before, _, after = text.partition("[model.architecture]")
    child = f'{before}init_from = "{{runs}}/base/final"\n[data]{after.partition("[data]")[2]}'
    base = text.replace("total_tokens = 3_072", f"total_tokens = {256 * base_steps}")
    paths = [folder / f"{name}.toml" for name in STAGES]
    for path, recipe in zip(paths, (base, child, child), strict=True):
        path.write_text(recipe)
    return paths


def small_cluster(*, num_nodes: int, devices_per_node: int = 1) -> Cluster:
    """Give a cluster of small nodes, of a device that is none."""
    device = parse_cluster("A100-80").device
    node = dataclasses.replace(device.node, num_devices=devices_per_node)
    return Cluster(dataclasses.replace(device, node=node), num_nodes * devices_per_node)


def plan(paths: Sequence[Path], overrides: tuple[str, ...] = (), *, fewest_nodes: int = 1) -> list[PlannedStage]:
    """Plan recipes with the same overrides."""
    return [
        PlannedStage(path, load(TrainingRecipe, path, overrides), overrides, seconds=3600, fewest_nodes=fewest_nodes)
        for path in paths
    ]


def write_launch(
    folder: Path, stages: Sequence[PlannedStage], cluster: Cluster, *, hosts: Sequence[str] = ()
) -> list[Path]:
    """Write the files that launch the stages into a folder, and give their paths."""
    return write_launch_files(launch_files(stages, cluster, folder=folder, hosts=hosts), folder)
