"""Plan before you pay: `scripts/plan.py RECIPE|FOLDER [key=value …] --devices 64xA100-80 [--price-per-hour 2.5]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from codellama_train.console import run_program
from codellama_train.planning.devices import parse_cluster
from codellama_train.planning.family import plan_family
from codellama_train.planning.launching import launch_files, write_launch_files
from codellama_train.planning.stage import plan_stage
from codellama_train.recipe.lineage import load_stages


def main(arguments: Sequence[str]) -> None:
    """Say what a stage, or each stage of a family, takes on the devices and how to run it there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path, help="a training recipe, or a folder of them: a family")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="dotted recipe keys, values as in TOML")
    parser.add_argument("--devices", required=True, metavar="NUMBERxDEVICE", help="64xA100-80; without a number, one")
    parser.add_argument("--price-per-hour", type=positive, metavar="PRICE", help="of one device")
    parser.add_argument("--host-memory", type=positive, metavar="GB", help="of each node, where it is not the usual")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write the files that launch it there")
    parser.add_argument("--hosts", metavar="HOST,HOST", help="with --write: the machines' names, for its hostfile")
    options = parser.parse_intermixed_args(arguments)
    cluster = parse_cluster(options.devices)
    if options.host_memory is not None:
        cluster = cluster.with_host_memory(options.host_memory)
    stages = load_stages([options.recipe], options.overrides)
    if options.recipe.is_dir():
        planned = plan_family(stages, cluster, price_per_hour=options.price_per_hour)
    else:
        planned = plan_stage(stages[0], cluster, price_per_hour=options.price_per_hour)
    if options.write:
        hosts = options.hosts.split(",") if options.hosts else ()
        files = launch_files(planned, cluster, folder=options.write, hosts=hosts)
        for path in write_launch_files(files, options.write):
            print(path)


def positive(text: str) -> float:
    """Read a price or a size."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


if __name__ == "__main__":
    run_program(main)
