"""Dialogue shards in both formats, from one corpus: the same dialogues, each in its own ids."""

from __future__ import annotations

from pathlib import Path

import pytest
from preparing import copy_of_stdlib, mini_recipe, recipe_table
from pydantic import ValidationError

from codellama_train.recipe.data import DataRecipe, ShardView
from codellama_train.recipe.loading import as_toml, load
from codellama_train.tokens.dialogue import Message, encode_dialogue
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet
from data_prep.pipeline import prepare

VIEW = {"source": "code", "cut": "dialogues", "max_document_tokens": 600}
VIEWS = {
    "code": {"source": "code", "cut": "files"},
    "exchanges": VIEW,
    "steps": VIEW | {"dialogue_format": "source_destination"},
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> DataRecipe:
    """A finished run with dialogues in both formats."""
    corpus = copy_of_stdlib(tmp_path_factory.mktemp("talk"), files_per_module=2)
    plain = mini_recipe(tmp_path_factory.mktemp("runs"), corpus, shards=VIEWS)
    prepare(plain)
    return plain


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_both_formats_hold_the_same_dialogues(recipe: DataRecipe, split: str):
    tokenizer = SentencePieceTokenizer.from_folder(recipe.run_dir / "tokenizer")
    exchanges, steps = (ShardSet(recipe.run_dir / "shards" / name / split) for name in ("exchanges", "steps"))
    assert exchanges.manifest["dialogue_format"] == "inst"
    assert steps.manifest["dialogue_format"] == "source_destination"
    assert "dialogue_format" not in ShardSet(recipe.run_dir / "shards/code" / split).manifest
    by_id = {steps.document_id(number): number for number in range(steps.num_documents)}
    num_compared = 0
    for number in range(exchanges.num_documents):
        if exchanges.document_id(number) not in by_id:
            continue  # the 70B format's headers made it longer than the recipe allows
        text = tokenizer.decode(exchanges.ids(number).tolist())
        request, answer = text.removeprefix("[INST] ").split(" [/INST] ")
        messages = [Message("user", request), Message("assistant", answer)]
        other = by_id[exchanges.document_id(number)]
        for shards, document in ((exchanges, number), (steps, other)):
            ids, predicted = encode_dialogue(tokenizer, messages, shards.manifest["dialogue_format"])
            assert shards.ids(document).tolist() == ids
            assert shards.predicted(document).tolist() == predicted
        num_compared += 1
    assert num_compared > 0.8 * exchanges.num_documents > 0


def test_only_dialogues_have_a_format():
    with pytest.raises(
        ValidationError, match="dialogue_format='source_destination' needs cut='dialogues', not 'files'"
    ):
        ShardView.model_validate({"source": "code", "cut": "files", "dialogue_format": "source_destination"})
    with pytest.raises(ValidationError, match="'inst' or 'source_destination'"):
        ShardView.model_validate(VIEW | {"dialogue_format": "chatml"})


def test_a_resolved_recipe_loads_again(tmp_path: Path):
    recipe = DataRecipe.model_validate(recipe_table(tmp_path, tmp_path, shards=VIEWS))
    (tmp_path / "mini.toml").write_text(as_toml(recipe))
    assert load(DataRecipe, tmp_path / "mini.toml") == recipe
