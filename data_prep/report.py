"""The account of a data run, from the stages' manifests: what went in, what was left out and why, what came out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from codellama_train.console import print_table
from codellama_train.recipe.data import DataRecipe

REPORT_FILE = "data_report.json"
Manifests = Mapping[str, dict[str, Any]]


def data_report(recipe: DataRecipe, manifests: Manifests) -> dict[str, Any]:
    """Put the stages' manifests together."""
    return {
        "recipe": recipe.name,
        "sources": {name: source.model_dump(mode="json") for name, source in recipe.sources.items()},
        "stages": {stage: manifest.get("sources", {}) for stage, manifest in manifests.items()},
        "removed": {stage: manifest.get("removed", {}) for stage, manifest in manifests.items()},
        "clusters": _facts(
            manifests["deduplicate"], "clusters", "searched_documents", "candidate_pairs", "verified_pairs"
        ),
        "decontamination": manifests["decontaminate"]["benchmarks"],
        "held_out": manifests["split"]["held_out"],
        "repositories_divided_by_file": manifests["split"]["repositories_divided_by_file"],
        "tokenizer": _facts(manifests["tokenizer"], "tokenizer", "vocabulary_size"),
        "shards": with_bytes_per_token(manifests["shards"]["shards"]),
        "seconds": {stage: manifest["seconds"] for stage, manifest in manifests.items()},
    }


def _facts(manifest: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: manifest[name] for name in names}


def with_bytes_per_token(shards: Mapping[str, Any]) -> dict[str, Any]:
    """Add to each side of each view how many bytes of text one token stands for."""
    return {
        view: {
            split: {**side, "bytes_per_token": round(side["bytes"] / max(side["tokens"], 1), 3)}
            for split, side in sides.items()
        }
        for view, sides in shards.items()
    }


def print_report(report: dict[str, Any]) -> None:
    """Print the short tables a person wants to see at the end."""
    stages = [stage for stage, sources in report["stages"].items() if sources]
    sources = report["stages"]["ingest"]
    rows = [[name, *(report["stages"][stage][name]["documents_out"] for stage in stages)] for name in sources]
    print_table("Documents left after each stage", ["source", *stages], rows)
    shard_rows = [
        [view, train["documents"], train["tokens"], held["documents"], held["tokens"], train["bytes_per_token"]]
        for view, sides in report["shards"].items()
        for train, held in [(sides["train"], sides["held_out"])]
    ]
    columns = ["shards", "train documents", "train tokens", "held-out documents", "held-out tokens", "bytes per token"]
    print_table("Token shards", columns, shard_rows)
    if inexact := list(_inexact_documents(report["shards"])):
        print_table("Documents that do not come back from their ids", ["shards", "cause", "documents"], inexact)


def _inexact_documents(shards: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Count, per view and cause, the documents of both sides whose ids do not give the text back."""
    for view, sides in shards.items():
        causes = sum((Counter[str](side["inexact_by_cause"]) for side in sides.values()), Counter[str]())
        yield from ((view, cause, count) for cause, count in sorted(causes.items()))
