"""What a run says of itself: counts against a recount of its tables, and the page that shows them."""

from __future__ import annotations

import json
import runpy
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from preparing import copy_of_stdlib, mini_recipe

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.recipe.data import DataRecipe
from data_prep.pipeline import prepare
from data_prep.tag_account import ACCOUNT_FILE

HOSTILE = "# @generated </pre></table><script>alert(1)</script>\nx = 1\n"
RECIPE = """
[model]
init_from = "base"
rope_theta = 10000.0
[data]
sequence_length = 512
seed = 1
[data.sources.code]
shards = "{runs}/mini/shards/code_files/train"
share = 0.85
[data.sources.related]
shards = "{runs}/mini/shards/related/train"
share = 0.08
[data.sources.language]
shards = "{runs}/mini/shards/none/train"
share = 0.07
[batch]
tokens_per_step = 8192
total_tokens = 819200
[optimizer]
peak_learning_rate = 1e-3
final_learning_rate_fraction = 0.1
warmup_steps = 2
betas = [0.9, 0.95]
epsilon = 1e-5
weight_decay = 0.1
gradient_clipping = 1.0
[machine]
zero_stage = 1
sequences_per_device = 1
activation_checkpointing = false
log_every_steps = 1
save_every_steps = 10
keep_checkpoints = 1
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[DataRecipe, dict[str, Any]]:
    """A finished run, one of whose files would break the page if it were not escaped."""
    checkouts = copy_of_stdlib(tmp_path_factory.mktemp("report") / "code", files_per_module=3)
    (checkouts / "json/<b>hostile.py").write_text(HOSTILE)
    recipe = mini_recipe(tmp_path_factory.mktemp("runs"), checkouts)
    return recipe, prepare(recipe)


def rows_of(run_dir: Path, pattern: str) -> list[dict[str, Any]]:
    return [row for path in sorted(run_dir.glob(pattern)) for row in pq.read_table(path).to_pylist()]


def test_languages_and_licences_are_those_of_the_tables(finished):
    recipe, report = finished
    tags = rows_of(recipe.run_dir, "tag/tags-*.parquet")
    kept = {row["document_id"] for row in rows_of(recipe.run_dir, "split/decisions-*.parquet") if row["kept"]}
    assert 0 < len(kept) < len(tags)
    for source, account in report["tags"].items():
        own = [row for row in tags if row["source"] == source]
        for group, column in (("languages", "language"), ("licenses", "license")):
            assert set(account[group]) == {row[column] or "not known" for row in own}
            for value, sizes in account[group].items():
                came = [row for row in own if (row[column] or "not known") == value]
                stays = [row for row in came if row["document_id"] in kept]
                assert sizes == {
                    "documents_in": len(came),
                    "bytes_in": sum(row["num_bytes"] for row in came),
                    "documents_out": len(stays),
                    "bytes_out": sum(row["num_bytes"] for row in stays),
                }


def test_sweeps_and_rules_are_those_of_the_tables(finished):
    recipe, report = finished
    tags = [row for row in rows_of(recipe.run_dir, "tag/tags-*.parquet") if row["source"] == "code"]
    account = report["tags"]["code"]
    swept = account["sweeps"]["longest_line"]
    assert swept["rules"] == [{"drops": "above", "threshold": 1000.0, "language": None}]
    assert len(swept["points"]) > 5
    for place, point in enumerate(swept["points"]):
        assert swept["at_most"]["documents"][place] == sum(row["longest_line"] <= point for row in tags)
        below = sum(row["num_bytes"] for row in tags if row["longest_line"] < point)
        assert swept["below"]["bytes"][place] == below
    drops = {
        "longest_line above 1000": {row["document_id"] for row in tags if row["longest_line"] > 1000},
        "generated_marks above 0": {row["document_id"] for row in tags if row["generated_marks"] > 0},
    }
    for rule, counts in account["rules"].items():
        others = set().union(*(ids for other, ids in drops.items() if other != rule))
        assert counts["documents"] == len(drops[rule])
        assert counts["alone_documents"] == len(drops[rule] - others)
    assert account["rules"]["generated_marks above 0"]["documents"] >= 1


def test_tokens_by_language_and_licence_are_those_of_the_shards(finished):
    recipe, report = finished
    tags = {row["document_id"]: row for row in rows_of(recipe.run_dir, "tag/tags-*.parquet")}
    for view, sides in report["shards"].items():
        for split, side in sides.items():
            folder = recipe.run_dir / "shards" / view
            origins = pq.read_table(folder / f"{split}.parquet").to_pylist()
            manifest = artifacts.read_json(folder / split / "manifest.json")
            assert side["tokens"] == manifest["tokens"] == sum(row["tokens"] for row in origins)
            assert side["documents"] == manifest["documents"] == len(origins)
            assert side["inexact_by_cause"] == manifest["inexact_by_cause"]
            for group, column in (("languages", "language"), ("licenses", "license")):
                tokens: Counter[str] = Counter()
                for row in origins:
                    tokens[tags[row["parent_id"]][column] or "not known"] += row["tokens"]
                assert {name: counts["tokens"] for name, counts in side[group].items()} == tokens


def test_the_account_is_kept_until_a_stage_changes(finished, tmp_path: Path):
    recipe, report = finished
    runs = shutil.copytree(recipe.run_dir.parent, tmp_path / "runs")
    moved = recipe.model_copy(update={"runs": str(runs)})
    path = moved.run_dir / ACCOUNT_FILE
    before = path.stat().st_mtime_ns
    assert prepare(moved)["tags"] == report["tags"]
    assert path.stat().st_mtime_ns == before
    stored = artifacts.read_json(path)
    artifacts.write_json(path, {**stored, "made_of": ["another"], "sources": {}})
    assert prepare(moved)["tags"] == report["tags"]


class Page(HTMLParser):
    """Checks that elements are closed in order, and keeps the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, *_: object) -> None:
        self.names.add(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, *_: object) -> None:
        self.names.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self.open else ""


def draw(project: Path, *arguments: str) -> Page:
    runpy.run_path(str(project / "scripts/report.py"))["main"](list(arguments))
    page = Page()
    page.feed((Path(arguments[0]) / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    return page


def test_the_page_shows_the_run_and_trusts_no_text(finished, project: Path, tmp_path: Path):
    recipe, report = finished
    training = tmp_path / "code.toml"
    training.write_text(RECIPE)
    page = draw(project, str(recipe.run_dir), "--recipes", str(training))
    assert not {"script", "link", "iframe", "b>hostile.py"} & page.names
    assert HOSTILE.strip() in page.text
    assert "code/json: json/<b>hostile.py" in page.text or "<b>hostile.py" in page.text
    for source, sizes in report["stages"]["ingest"].items():
        assert f"{sizes['documents_out']:,}" in page.text, source
    for view, sides in report["shards"].items():
        assert f"{sides['train']['tokens']:,}" in page.text, view
    for title in ("longest_line: drop what lies above", "How the rules overlap", "Table 1 of these shards", "Held out"):
        assert title in page.text
    side = artifacts.read_json(recipe.run_dir / "shards/code_files/train/manifest.json")
    epochs = 0.85 * 819_200 / (side["tokens"] + 2 * side["documents"])
    for said in (f"{epochs:.2f}", "2.03", "no shards yet", "85.0\N{NO-BREAK SPACE}%"):
        assert said in page.text, said


def test_a_page_without_what_older_runs_lack(finished, project: Path, tmp_path: Path, monkeypatch):
    recipe, _ = finished
    folder = shutil.copytree(recipe.run_dir, tmp_path / "runs/mini")
    report = json.loads((folder / "data_report.json").read_text())
    del report["tags"]
    report["decontamination"] = {"humaneval": {"items": 5, "items_hit": 1, "documents_by_item": {"HumanEval/<1>": 2}}}
    (folder / "data_report.json").write_text(json.dumps(report))
    monkeypatch.chdir(tmp_path)  # where there are no recipes
    page = draw(project, str(folder))
    assert "HumanEval/<1>" in page.text
    assert "this run was made before they were kept" in page.text
    assert "name some with --recipes" in page.text


def test_planted_copies_and_layers_are_drawn_where_the_run_has_them(finished, project: Path, tmp_path: Path):
    recipe, _ = finished
    folder = shutil.copytree(recipe.run_dir, tmp_path / "runs/mini")
    bins = [
        {"from": low, "to": low + 0.1, "pairs": 10, "found": round(10 * low), "expected": 10 * low}
        for low in np.arange(0.1, 1, 0.1).round(2).tolist()
    ]
    planted = {"by_similarity": bins, "at_or_above_similarity": {"pairs": 30, "found": 24, "expected": 24.0}}
    manifest = artifacts.read_json(folder / "deduplicate/manifest.json")
    files = manifest.pop("files")
    artifacts.write_manifest(folder / "deduplicate", {**manifest, "planted": planted}, files=files)
    report = json.loads((folder / "data_report.json").read_text())
    found = {"items": 5, "items_hit": 1, "items_hit_by_layer": {"exact": 1, "renamed": 0}, "documents": 7}
    report["decontamination"] = {"mbpp": {**found, "documents_by_item": {"601": 7}}}
    (folder / "data_report.json").write_text(json.dumps(report))
    (folder / "decontaminate/benchmark_items.json").write_text(json.dumps({"mbpp": {"dirty": {"601": ["exact"]}}}))
    hits = [{"benchmark": "mbpp", "item": "601", "excerpt": "<i>def max_chain"}, {"benchmark": "apps", "item": "1"}]
    pq.write_table(pa.Table.from_pylist(hits), folder / "decontaminate/hits.parquet")
    page = draw(project, str(folder))
    assert "<i>def max_chain" in page.text
    assert "Of 30 planted pairs at or above the recipe's similarity 24 were found" in page.text
    assert "by renamed" in page.text
    assert "found by" in page.text


def test_a_wrong_recipe_and_an_unfinished_run_are_named(finished, project: Path, tmp_path: Path):
    recipe, _ = finished
    (tmp_path / ".ingest.partial").mkdir()
    with pytest.raises(UserError, match="is not finished"):
        draw(project, str(tmp_path))
    with pytest.raises(UserError, match="there is no recipe at"):
        draw(project, str(recipe.run_dir), "--recipes", str(tmp_path / "absent.toml"))
