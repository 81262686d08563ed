"""The plan of a family: a row for each stage in its best layout, and what all of them take together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codellama_train.console import UserError, print_line, print_table
from codellama_train.planning import printing
from codellama_train.planning.cost import PAPER_HOURS, Cost, cost_of, llama_2_hours
from codellama_train.planning.devices import Cluster
from codellama_train.planning.launching_stages import PlannedStage
from codellama_train.planning.layouts import Layout, layouts
from codellama_train.planning.shape import ModelShape, shape_of
from codellama_train.planning.stage import missing, planned_stage
from codellama_train.recipe.lineage import Stage

COLUMNS = ["stage", "10⁹ tokens", "layout", "days", "device hours", "cost", "kWh", "A100-80 hours as Llama 2"]


@dataclass(frozen=True)
class StagePlan:
    """A stage in its best layout."""

    stage: Stage
    shape: ModelShape
    layout: Layout
    cost: Cost

    @property
    def tokens(self) -> int:
        """Tokens of the stage."""
        return self.stage.recipe.steps * self.stage.recipe.batch.tokens_per_step

    @property
    def llama_2_hours(self) -> float | None:
        """A100-80 hours at the rate of Llama 2's card; None for adapters and for sizes that it has not."""
        same = llama_2_hours(self.shape, num_tokens=self.tokens)
        return None if same is None or self.stage.recipe.lora is not None else same[1]

    def row(self) -> list[object]:
        """Give the stage's row."""
        return [self.stage.path.stem, *sums([self], printing.describe(self.layout.machine))]


def plan_family(stages: Sequence[Stage], cluster: Cluster, *, price_per_hour: float | None) -> list[PlannedStage]:
    """Print what each stage takes in its best layout; refused, naming them all, where some do not fit."""
    plans, refusals = [], []
    for stage in stages:
        shape = shape_of(stage.recipe, stage.ancestors)
        found = layouts(stage.recipe, shape, cluster)
        if found:
            plans.append(StagePlan(stage, shape, found[0], cost_of(found[0], dollars_per_hour=price_per_hour)))
        else:
            refusals.append(missing(stage, shape, cluster))
    if plans:
        rows = [*(plan.row() for plan in plans), ["together", *sums(plans, "")]]
        print_table(f"stages on {cluster}, one after the other", COLUMNS, rows)
        if any(plan.llama_2_hours for plan in plans):
            print_line(PAPER_HOURS)
    if refusals:
        raise UserError("\n".join(refusals))
    return [planned_stage(plan.stage, plan.layout, plan.shape) for plan in plans]


def sums(plans: Sequence[StagePlan], layout: str) -> list[object]:
    """Give the tokens of stages, their layout, days, hours, cost and energy, and their hours at Llama 2's rate."""
    dollars = [plan.cost.dollars for plan in plans if plan.cost.dollars is not None]
    hours = [plan.llama_2_hours for plan in plans if plan.llama_2_hours is not None]
    return [
        printing.short(sum(plan.tokens for plan in plans) / 1e9),
        layout,
        printing.short(sum(plan.layout.days for plan in plans)),
        printing.short(sum(plan.cost.device_hours for plan in plans)),
        printing.short(sum(dollars)) if dollars else "",
        printing.short(sum(plan.cost.kilowatt_hours for plan in plans)),
        printing.short(sum(hours)) if hours else "",
    ]
