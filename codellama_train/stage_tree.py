"""Draw stages as the tree that they descend in, each with its numbers and the state of its run. Imports no torch."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from codellama_train.console import format_number, format_seconds
from codellama_train.recipe.lineage import Stage, with_ancestors
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_state import Kind, RunState

WIDTH = 200  # columns that a drawing may take; a terminal with fewer wraps its lines
GUIDE_WIDTH = 4  # of the lines that rich draws before each level
COLUMNS = ("tokens", "steps", "context", "RoPE base", "learning rate")
STYLES: Mapping[Kind, str] = {
    "absent": "dim",
    "waiting": "dim",
    "running": "cyan",
    "stopped": "yellow",
    "complete": "green",
    "stale": "red",
    "damaged": "red",
}


def print_stages(stages: Iterable[Stage], states: Mapping[Stage, RunState]) -> None:
    """Print stages and all they descend from as a tree, then totals, then what there is to say of single ones."""
    every = with_ancestors(stages)
    console = Console(highlight=False, width=WIDTH)
    console.print(draw_stages(every, states))
    console.print(Text("\n".join(["", summarize(every, states), *notes(every, states)])), soft_wrap=True)
    sys.stdout.flush()  # before the programs that are started next speak


def draw_stages(stages: Sequence[Stage], states: Mapping[Stage, RunState]) -> Tree:
    """Give the tree of stages, which come parents before children, under what they start from."""
    rows = {stage: _numbers(stage.recipe) for stage in stages}
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows.values(), strict=True)]
    indents = {stage: GUIDE_WIDTH * (2 + len(list(stage.older()))) for stage in stages}
    name_width = max(indents[stage] + len(stage.recipe.name) for stage in stages)
    tree = Tree(Text(" " * name_width + _aligned(COLUMNS, widths) + "  state", style="dim"))
    nodes: dict[Stage | str, Tree] = {}
    for stage in stages:
        above: Stage | str = stage.parent or stage.recipe.model.init_from or "random weights"
        if isinstance(above, str) and above not in nodes:
            nodes[above] = tree.add(Text(above))
        name, state = stage.recipe.name.ljust(name_width - indents[stage]), states[stage]
        shown = (describe(state, stage.recipe), STYLES[state.kind])
        nodes[stage] = nodes[above].add(Text.assemble(name + _aligned(rows[stage], widths) + "  ", shown))
    return tree


def _numbers(recipe: TrainingRecipe) -> tuple[str, ...]:
    peak = recipe.optimizer.peak_learning_rate
    return (
        format_tokens(recipe.steps * recipe.batch.tokens_per_step),
        format_number(recipe.steps),
        format_number(recipe.data.sequence_length),
        format_number(recipe.model.rope_theta),
        f"{format_rate(peak)} → {format_rate(peak * recipe.optimizer.final_learning_rate_fraction)}",
    )


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def format_tokens(tokens: float) -> str:
    """Write a number of tokens with three digits: 1.2M, 500B."""
    for unit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if tokens >= 0.9995 * unit:
            return f"{float(f'{tokens / unit:.3g}'):g}{letter}"
    return f"{tokens:g}"


def format_rate(rate: float) -> str:
    """Write a learning rate as recipes do: 3e-4, 6.7e-7."""
    mantissa, exponent = f"{rate:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def describe(state: RunState, recipe: TrainingRecipe) -> str:
    """Say where a run stands in a few words, with what is left of one that has begun."""
    if state.kind == "complete":
        return "complete" + (f", {format_seconds(state.seconds)} of training" if state.seconds else "")
    if state.kind in ("running", "stopped"):
        text = f"{state.kind}, step {state.step:,} ({state.step / recipe.steps:.0%})"
        speed = (
            f", {state.tokens_per_second:,.0f} tokens/s" if state.kind == "running" and state.tokens_per_second else ""
        )
        return text + speed + (f", {format_seconds(state.seconds_left)} left" if state.seconds_left is not None else "")
    return state.kind


def summarize(stages: Sequence[Stage], states: Mapping[Stage, RunState]) -> str:
    """Add up the stages: how many tokens, how many of them trained, and how many stages stand where."""
    tokens = sum(stage.recipe.steps * stage.recipe.batch.tokens_per_step for stage in stages)
    trained = sum(states[stage].step * stage.recipe.batch.tokens_per_step for stage in stages)
    kinds = Counter(states[stage].kind for stage in stages)
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    what = "1 stage" if len(stages) == 1 else f"{len(stages)} stages"
    return f"{what}, {format_tokens(tokens)} tokens, of which {format_tokens(trained)} are trained; {counted}"


def notes(stages: Sequence[Stage], states: Mapping[Stage, RunState]) -> list[str]:
    """Say of each stage what its state alone does not tell; once of those that share it."""
    names: dict[str, list[str]] = {}
    for stage in stages:
        state = states[stage]
        if state.reason:
            text = f"{state.kind}{' ' if state.kind == 'waiting' else ', '}{state.reason}"
            names.setdefault(text, []).append(stage.recipe.name)
    return [f"{', '.join(each)}: {text}" for text, each in names.items()]
