"""What is missing where a recipe does not fit: how much memory, and how many devices or nodes would do."""

from __future__ import annotations

from codellama_train.console import UserError
from codellama_train.planning.devices import Cluster
from codellama_train.planning.layouts import Layout, excess, lacking, layout_of
from codellama_train.planning.shape import ModelShape
from codellama_train.planning.variants import runnable_variants
from codellama_train.recipe.training import TrainingRecipe

MOST_DEVICES = 8_192


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


def any_fits(recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> bool:
    """Say whether any layout fits on a cluster."""
    try:
        return any(not excess(each, shape, cluster) for each in runnable_variants(recipe, shape, cluster))
    except UserError:  # so many devices do not divide the sequences
        return False


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
