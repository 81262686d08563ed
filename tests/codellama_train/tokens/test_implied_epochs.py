"""The epochs a recipe implies, against the data order that training really reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from token_worlds import dialogue_documents, text_documents, write_shards

from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.tokens.audit import audit
from codellama_train.tokens.batches import open_mixture
from codellama_train.tokens.implied_epochs import (
    implied_sources,
    mixtures,
    print_epochs,
    recipes_that_use,
    shipped_recipes_that_use,
)
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer

STEPS = 12


@pytest.fixture(scope="module")
def runs(tokenizer: SentencePieceTokenizer, source_texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with the shards of data/tiny."""
    runs = tmp_path_factory.mktemp("runs")
    shards = runs / "data/tiny/shards"
    for view, size in (("code", 400), ("related", 900), ("language", 200)):
        texts = [source_texts[0][start : start + size] for start in range(0, 40_000, size)]
        write_shards(shards / view / "train", tokenizer, text_documents(tokenizer, texts))
    exchanges = [[(f"Add {n}", f"It is {n}. " * (n % 7 + 1))] for n in range(60)]
    write_shards(shards / "dialogues/train", tokenizer, dialogue_documents(tokenizer, exchanges), kind="dialogues")
    return runs


@pytest.mark.parametrize("name", ["code_without_infilling", "instruct"])
def test_training_reads_the_epochs_that_the_recipe_implies(
    project: Path, runs: Path, tokenizer: SentencePieceTokenizer, name: str
):
    tokens = STEPS * 8_192
    overrides = [f"runs={runs}", f"batch.total_tokens={tokens}", "batch.tokens_per_step=8192"]
    overrides += ["data.sequence_length=512", "optimizer.warmup_steps=1"]
    recipe = load(TrainingRecipe, project / f"recipes/tiny/{name}.toml", overrides)
    mixture = open_mixture(recipe, tokenizer)
    audited = audit(mixture, num_steps=STEPS)
    read, unpadded = audited["sources"], 1 - audited["padding_tokens_fraction"]  # dialogues are never cut
    documents = {source.name: source.shards.num_documents for source in mixture.sources}
    for source in implied_sources(recipe):
        assert source.tokens_drawn == pytest.approx(source.share * tokens)
        # Every lane is inside a document when it ends, by its clock at most half of one before or behind.
        ahead = recipe.sequences_per_step / documents[source.name]
        assert source.epochs is not None
        assert abs(read[source.name]["epochs"] - unpadded * source.epochs) <= 0.03 * source.epochs + ahead, (
            read,
            source,
        )


def test_recipes_are_found_by_the_shards_they_draw_from(project: Path, runs: Path, capsys):
    found = shipped_recipes_that_use(runs / "data/tiny", project / "recipes", runs)
    names = {recipe.name for recipe in found}
    assert {"tiny/code", "tiny/instruct", "tiny/python", "ablations/best_fit"} <= names
    assert not {"7b/code", "lora/own_code", "tiny/evaluation"} & names
    grouped = next(group for group, _ in mixtures(found) if "tiny/code" in group)
    assert "tiny/code_without_infilling" in grouped
    assert "tiny/lora" not in grouped  # the same shares of fewer tokens
    print_epochs(found)
    printed = capsys.readouterr().out
    assert "no shards yet" in printed  # recipes of the family name shards that this run has not made
    assert recipes_that_use(runs / "data/other", [project / "recipes/tiny/code.toml"], runs) == []
