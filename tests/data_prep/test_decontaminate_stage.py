"""The stage on a small run: who goes and why, what is written about it, and what a mistake in the recipe says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from benchmark_items import HUMANEVAL, RULES
from preparing import STDLIB, copy_of_stdlib, mini_recipe
from test_renamed_copies import RENAMED

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.recipe.data import DataRecipe
from data_prep.contamination.account import Account, facts_of, items_of
from data_prep.contamination.index import build_index
from data_prep.contamination.items import LAYERS, Item
from data_prep.decontaminate import NEAR_COPY, reason_for
from data_prep.pipeline import STAGES, check
from data_prep.stage import do

TABLE = RULES.model_dump(exclude_defaults=True)
ITEMS = {item.name: item for item in HUMANEVAL}
EXCHANGE = "[INST] Please write it.\n{} [/INST] Sure:\n{}"


def run_stages(recipe: DataRecipe) -> dict[str, Any]:
    """Do the stages up to decontamination; gives its manifest."""
    for stage in STAGES[:5]:
        manifest = do(stage, recipe, recipe.run_dir.resolve())
    return manifest


def write(path: Path, text: str) -> None:
    (path.parent / ".git").mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """A run over real files with planted copies of every sort; gives its folder and the stage's manifest."""
    corpus = copy_of_stdlib(tmp_path_factory.mktemp("planted"), files_per_module=2)
    prompt, solution, _ = ITEMS["HumanEval/10"].texts
    write(corpus / "copies" / "whole.py", f"import os\n\n\n{prompt}{solution}")
    write(corpus / "copies" / "renamed.py", f"import os\n\n\n{RENAMED['HumanEval/37']}")
    prompt, solution, _ = ITEMS["HumanEval/32"].texts
    write(corpus / "copies" / "answer.md", EXCHANGE.format(prompt, solution))
    original = (STDLIB / "json" / "decoder.py").read_text("utf-8")
    half = original.index("\ndef ")
    # Longer, so it is kept and the contaminated one is dropped as its near copy.
    write(
        corpus / "near" / "kept.py",
        f"{original}\n\nNOTHING_OF_A_BENCHMARK_BUT_MUCH_LONGER_THAN_THE_OTHER_ONE = {list(range(90))}\n",
    )
    write(corpus / "near" / "dropped.py", f"{original[:half]}\n\n{RENAMED['HumanEval/44']}\n{original[half:]}")
    (corpus / "json" / "decoder.py").unlink(missing_ok=True)
    recipe = mini_recipe(tmp_path_factory.mktemp("runs"), corpus, decontamination=TABLE, machine={"workers": 2})
    return recipe.run_dir, run_stages(recipe)


def removed(run_dir: Path) -> dict[str, str]:
    """Give the reason of each removed document by its path and source."""
    found = {}
    for path in sorted((run_dir / "decontaminate").glob("decisions-*.parquet")):
        tags = pq.read_table(run_dir / "tag" / path.name.replace("decisions", "tags")).to_pylist()
        rows = pq.read_table(path).to_pylist()
        found |= {
            f"{tag['source']}: {tag['path']}": row["reason"]
            for tag, row in zip(tags, rows, strict=True)
            if row["reason"]
        }
    return found


def test_copies_go_under_the_strongest_layer_and_near_copies_with_them(run):
    run_dir, _ = run
    reasons = {place: why for place, why in removed(run_dir).items() if "docstring" not in place}
    assert reasons.pop("code: near/kept.py") == NEAR_COPY
    assert {place: why for place, why in reasons.items() if place.startswith("code")} == {
        "code: copies/whole.py": "repeats_benchmark_exact",
        "code: copies/renamed.py": "repeats_benchmark_renamed",
    }
    assert reasons["related: copies/answer.md"] == "repeats_benchmark_exact"


def test_the_near_copy_holds_nothing_itself(run):
    run_dir, _ = run
    hits = pq.read_table(run_dir / "decontaminate" / "hits.parquet").to_pylist()
    clusters = pq.read_table(run_dir / "deduplicate" / "clusters.parquet").to_pylist()
    by_item = {hit["item"]: hit for hit in hits if hit["layer"] == "renamed" and hit["source"] == "code"}
    dropped = by_item["HumanEval/44"]["document_id"]
    (kept,) = (row["kept_copy"] for row in clusters if row["document_id"] == dropped)
    assert kept not in {hit["document_id"] for hit in hits}


def test_hits_say_where_and_by_how_much(run):
    run_dir, _ = run
    hits = pq.read_table(run_dir / "decontaminate" / "hits.parquet").to_pylist()
    renamed = next(hit for hit in hits if hit["item"] == "HumanEval/37" and hit["layer"] == "renamed")
    assert renamed["benchmark"] == "humaneval"
    assert renamed["value"] == 1.0
    assert "at_even = sequence[::2]" in renamed["excerpt"]
    whole = {hit["layer"]: hit["value"] for hit in hits if hit["item"] == "HumanEval/10" and hit["source"] == "code"}
    assert whole["exact"] == 2  # prompt and solution
    assert whole["ngram"] > 30
    assert whole["substring"] == 6  # three of each


def test_the_account_and_the_list_of_items_agree(run):
    run_dir, manifest = run
    facts = manifest["benchmarks"]["humaneval"]
    items = artifacts.read_json(run_dir / "decontaminate" / "benchmark_items.json")["humaneval"]
    assert facts["items"] == 164 == len(items["clean"]) + len(items["dirty"]) + len(items["too_short"])
    assert facts["items_hit"] == len(items["dirty"]) == len(facts["documents_by_item"])
    assert {"HumanEval/10", "HumanEval/32", "HumanEval/37", "HumanEval/44"} <= items["dirty"].keys()
    assert items["dirty"]["HumanEval/37"] == ["renamed"]
    assert items["dirty"]["HumanEval/10"][:3] == ["exact", "ngram", "substring"]
    assert facts["items_too_short"] == {"exact": 0, "ngram": 0, "substring": 0, "renamed": 38}
    assert facts["documents_by_item"]["HumanEval/37"] == 1
    (checksum,) = facts["files"].values()
    assert len(checksum) == 64


def test_items_without_a_solution_are_not_too_short_for_one():
    whole = "What is the least number of coins that adds up to a sum, and how are they found?"
    index = build_index([Item("b", "1", (whole,), ()), Item("b", "2", ("What?",), ("x",))], RULES)
    account = Account()
    account.add([{"benchmark": "b", "item": "1", "layer": layer} for layer in ("ngram", "exact")])
    facts = facts_of(account, index)["b"]
    assert facts["items_too_short"] == dict.fromkeys(LAYERS, 1)
    assert facts["items_too_short_for_all"] == 1
    assert (facts["items_hit"], facts["documents"], facts["documents_by_item"]) == (1, 1, {"1": 1})
    assert items_of(account, index)["b"] == {"clean": [], "dirty": {"1": ["exact", "ngram"]}, "too_short": ["2"]}


def test_without_benchmarks_nothing_goes(tmp_path):
    corpus = copy_of_stdlib(tmp_path / "files", files_per_module=1)
    recipe = mini_recipe(tmp_path / "runs", corpus)
    manifest = run_stages(recipe)
    assert manifest["benchmarks"] == {}
    assert manifest["removed"] == {}
    assert removed(recipe.run_dir) == {}


def test_a_benchmark_that_cannot_be_read_is_refused_before_anything_is_done(tmp_path):
    corpus = copy_of_stdlib(tmp_path / "files", files_per_module=1)
    (tmp_path / "b.jsonl").write_text('{"question": "?"}\n')
    table = TABLE | {"benchmarks": {"own": {"path": str(tmp_path / "b.jsonl"), "format": "gsm8k"}}}
    with pytest.raises(
        UserError, match=r"decontamination.benchmarks.own: row 1 of .* lacks a field \(KeyError\('answer'\)\)"
    ):
        check(mini_recipe(tmp_path / "runs", corpus, decontamination=table))
    assert not (tmp_path / "runs").exists()


def test_a_changed_benchmark_file_is_noticed(tmp_path):
    corpus = copy_of_stdlib(tmp_path / "files", files_per_module=1)
    path = tmp_path / "b.jsonl"
    table = TABLE | {"benchmarks": {"own": {"path": str(path), "text_keys": ["t"]}}}
    seen = []
    for text in ("one", "two", "one"):
        path.write_text(f'{{"t": "{text}"}}\n')
        seen.append(STAGES[4].keys(mini_recipe(tmp_path / "runs", corpus, decontamination=table)))
    assert seen[0] != seen[1]


def test_reasons_name_the_strongest_layer():
    assert reason_for({"renamed", "substring", "ngram"}) == "repeats_benchmark_ngram"
    assert reason_for({"renamed"}) == "repeats_benchmark_renamed"
