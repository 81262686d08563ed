from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from token_worlds import text_documents, write_shards

from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer


@pytest.fixture(scope="module")
def recipe(project: Path, tokenizer: SentencePieceTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped tiny code recipe, moved to a folder of small shards."""
    runs = tmp_path_factory.mktemp("runs")
    tokenizer.save(runs / "tokenizer")
    for source in ("code", "related", "language"):
        texts = [f"# {source}\ndef f_{number}(x):\n    return x + {number}\n" for number in range(60)]
        write_shards(runs / "data/tiny/shards" / source / "train", tokenizer, text_documents(tokenizer, texts))
    text = (project / "recipes/tiny/code.toml").read_text(encoding="utf-8")
    path = runs / "code.toml"
    path.write_text(f'runs = "{runs}"\n{text}', encoding="utf-8")
    return path


def show(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, project / "scripts/show_batches.py", *arguments], capture_output=True, text=True, check=False
    )


def test_a_person_sees_documents_sentinels_and_shares(project: Path, recipe: Path):
    shown = show(project, str(recipe), f"model.tokenizer={recipe.parent}/tokenizer", "--step", "2")
    assert shown.returncode == 0, shown.stderr
    assert "══ step 2, sequence 1: 512 tokens, 512 labels predicted ══" in shown.stdout
    for sign in ("⟨BOS⟩", "⟨PRE⟩", "⟨SUF⟩", "⟨MID⟩", "⟨EOT⟩", "epoch 0, infilled PSM, tokens", "infilled SPM"):
        assert sign in shown.stdout
    assert re.search(r"── code [0-9a-f]{12}, epoch 0", shown.stdout)


def test_the_audit_is_json(project: Path, recipe: Path):
    shown = show(project, str(recipe), f"model.tokenizer={recipe.parent}/tokenizer", "--audit", "12")
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert (found["steps"], found["lanes"], found["sequence_length"]) == (12, 2, 512)
    assert found["sources"]["code"]["share_asked"] == 0.85
    assert found["restored_documents"]["different"] == []
    assert found["restored_documents"]["compared"] > 100


def test_a_mistake_is_one_sentence(project: Path, recipe: Path):
    shown = show(project, str(recipe), "data.sequence_lenght=3")
    assert shown.returncode == 2
    assert shown.stdout == ""
    assert "did you mean 'data.sequence_length'" in shown.stderr
    assert "Traceback" not in shown.stderr
