"""The plan of one stage: printed, and given back as it is to be launched."""

from __future__ import annotations

from codellama_train.console import UserError, print_line
from codellama_train.planning import printing
from codellama_train.planning.cost import cost_of
from codellama_train.planning.devices import GB, GIB, Cluster
from codellama_train.planning.launching import launch_line
from codellama_train.planning.launching_stages import PlannedStage
from codellama_train.planning.layouts import Layout, lacking, layout_of, layouts, overview
from codellama_train.planning.shape import ModelShape, shape_of
from codellama_train.planning.shortage import fewest_devices, fewest_nodes, nearest_to_fit
from codellama_train.recipe.lineage import Stage


def plan_stage(stage: Stage, cluster: Cluster, *, price_per_hour: float | None) -> list[PlannedStage]:
    """Print all there is to say of a stage on a cluster; refused where no layout fits."""
    recipe = stage.recipe
    shape = shape_of(recipe, stage.ancestors)
    printing.print_stage(recipe, shape, cluster)
    columns = {}
    try:
        columns["as written"] = layout_of(recipe, recipe.machine, shape, cluster)
    except UserError as error:
        print_line(f"As it is written, the recipe does not run on {cluster}: {error}")
    found = layouts(recipe, shape, cluster)
    columns |= {"recommended": found[0]} if found else {}
    printing.print_memory(columns)
    printing.print_layouts(overview(found, recipe, shape, cluster))
    if not found:
        raise UserError(missing(stage, shape, cluster))
    printing.print_assumptions(found[0])
    printing.print_recommended(found[0], shape, cost_of(found[0], dollars_per_hour=price_per_hour))
    planned = planned_stage(stage, found[0], shape)
    print_line(launch_line(planned.path, planned.overrides, cluster))
    return [planned]


def planned_stage(stage: Stage, layout: Layout, shape: ModelShape) -> PlannedStage:
    """Give a stage as it is to be launched: with the person's overrides, then those of the layout."""
    overrides, seconds = (*stage.overrides, *layout.overrides), layout.days * 86_400
    return PlannedStage(stage.path, layout.recipe, overrides, seconds, fewest_nodes(layout, shape))


def missing(stage: Stage, shape: ModelShape, cluster: Cluster) -> str:
    """Say what a stage lacks on a cluster where nothing fits, and how many devices would do."""
    nearest = nearest_to_fit(stage.recipe, shape, cluster)
    lacks = " and ".join(
        f"{amount / GIB:,.1f} GiB {place}" for place, amount in lacking(nearest.memory, cluster).items()
    )
    if nearest.memory.host_total > cluster.host_bytes_per_device:
        lacks += f" (if a node has more than {cluster.device.node.host_memory_bytes / GB:,.0f} GB, give --host-memory)"
    enough = fewest_devices(stage.recipe, shape, cluster)
    remedy = f"{cluster.of(enough)} would do" if enough else f"no number of {cluster.device.name} would do"
    return (
        f"{stage.path} does not fit on {cluster}: the layout that comes nearest ({printing.describe(nearest.machine)}) "
        f"lacks {lacks}; {remedy}"
    )
