"""Small data recipes and corpora that several test files share."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

from codellama_train.recipe.data import DataRecipe

STDLIB = Path(sysconfig.get_path("stdlib"))
MODULES = ("json", "logging", "email", "html", "http", "urllib", "xml", "collections", "importlib", "concurrent")


def copy_of_stdlib(folder: Path, *, files_per_module: int) -> Path:
    """Copy a few real files per module, each module as a checkout of its own."""
    for module in MODULES:
        checkout = folder / module
        (checkout / ".git").mkdir(parents=True)
        for path in sorted((STDLIB / module).rglob("*.py"), key=lambda path: path.stat().st_size)[-files_per_module:]:
            (checkout / path.name).write_bytes(path.read_bytes())
    return folder


def recipe_table(runs: Path, corpus: Path, **changes: Any) -> dict[str, Any]:
    """Give a small but complete recipe as a table, with top-level tables replaced by `changes`."""
    caps = {"max_file_bytes": 200_000, "max_megabytes": 100, "max_megabytes_per_repository": 50}
    folder = {"paths": [str(corpus)], "exclude_folders": ["tests", "__pycache__", ".*"], **caps}
    table: dict[str, Any] = {
        "name": "mini",
        "runs": str(runs),
        "sources": {
            "code": {"kind": "folders", **folder},
            "related": {"kind": "documentation", "min_docstring_characters": 200, **folder},
        },
        "filters": {"code": {"longest_line": {"above": 1000.0}, "generated_marks": {"above": 0.0}}},
        "deduplication": {"ngram_words": 5, "permutations": 256, "bands": 25, "rows_per_band": 10, "similarity": 0.7},
        "held_out": {"fraction": 0.3, "seed": 1, "min_repositories": 4},
        "tokenizer": {"vocabulary_size": 400, "sample_megabytes": 1},
        "shards": {
            "code": {"source": "code", "cut": "functions", "max_document_tokens": 200},
            "python": {"source": "code", "cut": "functions", "max_document_tokens": 200, "languages": ["python"]},
            "code_files": {"source": "code", "cut": "files"},
            "related": {"source": "related", "cut": "files"},
            "dialogues": {"source": "code", "cut": "dialogues", "max_document_tokens": 600},
        },
        "machine": {"workers": 1},
    }
    return table | changes


def mini_recipe(runs: Path, corpus: Path, **changes: Any) -> DataRecipe:
    """Give a small but complete recipe."""
    return DataRecipe.model_validate(recipe_table(runs, corpus, **changes))
