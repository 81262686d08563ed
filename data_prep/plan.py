"""What a data recipe would do, printed without touching anything."""

from __future__ import annotations

from codellama_train.console import print_table
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.data_sources import (
    DocumentationSource,
    FoldersSource,
    HuggingfaceSource,
    PypiSource,
    Source,
)
from data_prep.pipeline import STAGES, check
from data_prep.sources.roots import resolved_folders
from data_prep.stage import is_up_to_date


def print_plan(recipe: DataRecipe) -> None:
    """Print the sources, the shards and the state of every stage."""
    check(recipe)
    rows = [[name, source.kind, _origin(name, source)] for name, source in recipe.sources.items()]
    print_table(f"Sources of {recipe.name}", ["source", "kind", "from"], rows)
    views = [
        [name, view.source, view.cut, ", ".join(view.languages or ["all"]), view.max_document_tokens or "no bound"]
        for name, view in recipe.shards.items()
    ]
    print_table("Token shards", ["shards", "source", "cut", "languages", "longest document, tokens"], views)
    states = []
    stale: set[str] = set()
    for stage in STAGES:
        if stale.intersection(stage.inputs) or not is_up_to_date(stage, recipe, recipe.run_dir):
            stale.add(stage.name)
        states.append([stage.name, "to do" if stage.name in stale else "up to date", str(recipe.run_dir / stage.name)])
    print_table("Stages", ["stage", "state", "folder"], states)


def _origin(name: str, source: Source) -> str:
    if isinstance(source, PypiSource):
        return f"{source.package}=={source.version} (package index)"
    if isinstance(source, HuggingfaceSource):
        return f"{source.dataset} (Hugging Face), {source.split}"
    if isinstance(source, FoldersSource | DocumentationSource):
        return ", ".join(str(folder) for folder in resolved_folders(f"sources.{name}.paths", source.paths))
    return ", ".join(source.paths)
