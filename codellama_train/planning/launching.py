"""Write the files that start a plan's stages: on one machine, on several, and by Slurm.

What is written is bash that a person can read and change: it holds the plan's numbers and no path but those given.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from codellama_train.console import UserError
from codellama_train.planning.devices import Cluster
from codellama_train.planning.launching_hosts import host_files
from codellama_train.planning.launching_slurm import slurm_files
from codellama_train.planning.launching_stages import PlannedStage, quoted


def launch_line(recipe_path: Path, overrides: Sequence[str], cluster: Cluster) -> str:
    """Give the command that trains a recipe on the cluster, as one types it in the project's root."""
    several = cluster.num_nodes > 1
    devices = ["--hostfile", "hostfile"] if several else ["--num_accelerators", str(cluster.num_devices)]
    return quoted(["deepspeed", *devices, "scripts/train.py", str(recipe_path), *overrides])


def launch_files(
    stages: Sequence[PlannedStage], cluster: Cluster, *, folder: Path, hosts: Sequence[str] = ()
) -> dict[str, str]:
    """Give the files that start the stages, by name: those for DeepSpeed's launcher and those for Slurm.

    Stages come after those they start from. The files name each other by `folder`, where they are to lie, as seen from
    the project's root.
    """
    return {**host_files(stages, cluster, folder=folder, hosts=hosts), **slurm_files(stages, cluster, folder=folder)}


def write_launch_files(files: dict[str, str], folder: Path) -> list[Path]:
    """Write the files; ones that are there already are replaced, but for a hostfile, in which a person writes."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--write {folder} is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in files.items():
        path = folder / name
        if name == "hostfile" and path.exists() and path.read_text(encoding="utf-8") != text:
            continue
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".sh":
            path.chmod(0o755)
        written.append(path)
    return written
