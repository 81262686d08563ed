"""A plan's stages as the scripts that start them have them: in order, and quoted for a shell."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codellama_train.console import UserError
from codellama_train.planning.devices import Cluster
from codellama_train.recipe.training import TrainingRecipe

FINISHED = "final/manifest.json"  # of a run folder: written last, so there once the run is complete

# Every script begins so: it ends at the first error, and finds the project and the Python that was installed for it.
PREAMBLE = """\
set -euo pipefail
if [ ! -f scripts/train.py ]; then
    echo "error: there is no scripts/train.py in $PWD; run this from the project's root" >&2
    exit 2
fi
if [ -x .venv/bin/python ]; then
    PATH=$PWD/.venv/bin:$PATH
fi
"""


@dataclass(frozen=True)
class PlannedStage:
    """A stage as the plan runs it: `recipe` is what the file gives with `overrides`, `seconds` what it takes."""

    path: Path
    recipe: TrainingRecipe
    overrides: tuple[str, ...]
    seconds: float
    fewest_nodes: int  # fewer do not hold it with these overrides

    @property
    def words(self) -> list[str]:
        """What the training program is given: the recipe and its overrides."""
        return [str(self.path), *self.overrides]

    @property
    def command(self) -> str:
        """The recipe and its overrides, quoted for a shell."""
        return quoted(self.words)

    @property
    def run(self) -> str:
        """The run folder, quoted for a shell."""
        return quote(str(self.recipe.run_dir))

    @property
    def file_name(self) -> str:
        """The stage's name without folders and without what needs quoting: 7b-code for 7b/code."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.recipe.name).strip("-")

    @property
    def title(self) -> str:
        """The stage's name for a comment."""
        return " ".join(self.recipe.name.split())


def quoted(words: Sequence[str]) -> str:
    """Write words as a shell reads them back."""
    return " ".join(quote(word) for word in words)


def quote(word: str) -> str:
    """Write a word as a shell reads it back; in double quotes, where shellcheck would take it for an expression."""
    return '"{}"'.format(re.sub(r'[\\"$`]', r"\\\g<0>", word)) if re.search(r"['$`\\]", word) else shlex.quote(word)


def comment(text: str) -> str:
    """Write text as comments of a script."""
    lines = (textwrap.wrap(line, 118, break_long_words=False, break_on_hyphens=False) for line in text.splitlines())
    return "".join(f"# {line}\n" for wrapped in lines for line in wrapped)


def filled(template: str, **values: object) -> str:
    """Put values in the places that a template marks <<so>>."""
    return re.sub(r"<<(\w+)>>", lambda place: str(values[place[1]]), template)


def devices_of_a_node(cluster: Cluster) -> int:
    """Count the devices that each node gives; nodes that differ are refused."""
    if cluster.num_nodes > 1 and cluster.num_devices % cluster.device.devices_per_node:
        raise UserError(
            f"--devices {cluster} is not a number of whole nodes, which have {cluster.device.devices_per_node} "
            f"devices each; use a multiple of {cluster.device.devices_per_node}, or what one node holds"
        )
    return cluster.num_devices // cluster.num_nodes


def titles(stages: Sequence[PlannedStage]) -> str:
    """Name the stages in one line."""
    return ", ".join(stage.title for stage in stages)


def parent_of(stage: PlannedStage, stages: Sequence[PlannedStage]) -> PlannedStage | None:
    """Find the stage whose finished model this one starts from; None where none of these makes it."""
    init_from = stage.recipe.model.init_from
    if init_from is None:
        return None
    return next((other for other in stages if other.recipe.run_dir / "final" == Path(init_from)), None)
