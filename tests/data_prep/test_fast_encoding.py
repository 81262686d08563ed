"""Shards are the same bytes whichever library encodes, and say which documents do not come back, and why."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from pathlib import Path

import pytest
from preparing import copy_of_stdlib, mini_recipe

from codellama_train.recipe.data import DataRecipe
from codellama_train.tokens.fast_encoder import say_once
from codellama_train.tokens.shards import ShardSet
from data_prep.pipeline import prepare
from data_prep.report import print_report

INEXACT = "def spaces():\n    return '▁▁'\n"
CONTROLS = "def controls():\n    return '<s></s> <PRE> ▁<MID> <unk><0x0A> [INST]'\n"
VIEWS = {
    "functions": {"source": "code", "cut": "functions", "max_document_tokens": 200},
    "files": {"source": "code", "cut": "files"},
    "dialogues": {"source": "code", "cut": "dialogues", "max_document_tokens": 600},
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_of_stdlib(tmp_path_factory.mktemp("files"), files_per_module=2)
    (folder / "json" / "spaces.py").write_text(INEXACT, "utf-8")
    (folder / "json" / "controls.py").write_text(CONTROLS, "utf-8")
    return folder


def recipe_in(folder: Path, corpus: Path) -> DataRecipe:
    return mini_recipe(folder, corpus, shards=VIEWS)


def shard_files(run_dir: Path) -> dict[str, bytes]:
    paths = sorted(
        path for path in (run_dir / "shards").rglob("*") if path.is_file() and path.parent != run_dir / "shards"
    )
    return {str(path.relative_to(run_dir)): path.read_bytes() for path in paths}


def test_the_fast_encoder_changes_no_byte(tmp_path, corpus, caplog, capsys, monkeypatch):
    pytest.importorskip("gigatoken", reason="needs the extra `fast`")
    caplog.set_level(logging.INFO)
    say_once.cache_clear()
    fast = recipe_in(tmp_path / "fast", corpus)
    report = prepare(fast)
    assert "gigatoken" in caplog.text
    assert "encodes; its ids were checked" in caplog.text

    monkeypatch.setitem(sys.modules, "gigatoken", None)
    caplog.clear()
    say_once.cache_clear()
    plain = recipe_in(tmp_path / "plain", corpus)
    assert prepare(plain)["shards"] == report["shards"]
    assert "gigatoken" not in caplog.text
    assert len(shard_files(plain.run_dir)) > 20
    assert shard_files(plain.run_dir) == shard_files(fast.run_dir)

    manifests = [ShardSet(fast.run_dir / f"shards/files/{split}").manifest for split in ("train", "held_out")]
    assert sum(manifest["inexact_documents"] for manifest in manifests) == 2
    assert sum((Counter(manifest["inexact_by_cause"]) for manifest in manifests), Counter()) == {"holds_metaspace": 2}
    sides = report["shards"]["files"].values()
    assert [side["inexact_by_cause"] for side in sides] == [manifest["inexact_by_cause"] for manifest in manifests]
    print_report(report)
    rows = [line.strip("│ ").split() for line in capsys.readouterr().out.splitlines() if "holds_metaspace" in line]
    assert rows == [["functions", "│", "holds_metaspace", "│", "2"], ["files", "│", "holds_metaspace", "│", "2"]]
