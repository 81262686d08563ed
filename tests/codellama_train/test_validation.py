"""The rows that validation measures, and who runs which; test_train.py measures them in real runs."""

from __future__ import annotations

import numpy as np
import pytest
from launching import write_recipe
from small_data import function_text, prose, write_dialogues, write_documents

from codellama_train.agreement import describe_start
from codellama_train.console import UserError
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import claim, examine
from codellama_train.tokens.held_out_rows import held_out_rows, rows_in_stored_order, share_of_rank
from codellama_train.tokens.mixture import MixtureSource
from codellama_train.tokens.rows import IGNORED
from codellama_train.tokens.shards import ShardSet

LENGTH = 64


@pytest.fixture(scope="module")
def held_out(tmp_path_factory, tokenizer):
    """Held-out shards: more code than is asked for, less language, and dialogues."""
    data = tmp_path_factory.mktemp("held_out")
    write_documents(data, "code", tokenizer, [function_text(number) for number in range(500, 530)])
    write_documents(data, "language", tokenizer, [prose(number) for number in range(500, 503)])
    write_dialogues(data, tokenizer)
    return data


def source_of(held_out, name) -> MixtureSource:
    return MixtureSource(name, 1.0, ShardSet(held_out / f"shards/{name}/held_out"))


def rows_of(held_out, name, tokenizer, *, num_rows=5):
    folder = held_out / f"shards/{name}/held_out"
    return held_out_rows(
        name, folder, tokenizer=tokenizer, sequence_length=LENGTH, num_rows=num_rows, document_mask=False
    )


def test_rows_are_the_documents_end_to_end(held_out, tokenizer):
    source = source_of(held_out, "code")
    stream = np.concatenate(
        [
            [tokenizer.bos_id, *source.shards.ids(number), tokenizer.eos_id]
            for number in range(source.shards.num_documents)
        ]
    )
    rows = list(rows_in_stored_order(source, tokenizer=tokenizer, sequence_length=LENGTH, document_mask=False))
    assert len(rows) == -(-len(stream) // LENGTH)
    assert np.array_equal(np.concatenate([row.input_ids for row in rows])[: len(stream)], stream)
    labels = np.concatenate([row.labels for row in rows])
    assert np.array_equal(labels[: len(stream) - 1], stream[1:])
    assert (labels[len(stream) - 1 :] == IGNORED).all()


def test_of_dialogues_only_answers_count(held_out, tokenizer):
    source = source_of(held_out, "dialogues")
    rows = list(rows_in_stored_order(source, tokenizer=tokenizer, sequence_length=LENGTH, document_mask=False))
    num_answers = sum(int(source.shards.predicted(number).sum()) for number in range(source.shards.num_documents))
    assert sum(int((row.labels != IGNORED).sum()) for row in rows) == num_answers


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("rows_per_pass", [1, 2])
def test_ranks_share_the_rows_in_equally_many_passes(num_ranks, rows_per_pass):
    shares = [
        share_of_rank(range(7), rank=rank, num_ranks=num_ranks, rows_per_pass=rows_per_pass, padding=-1)
        for rank in range(num_ranks)
    ]
    assert len({len(share) for share in shares}) == 1
    assert {len(part) for share in shares for part in share} == {rows_per_pass}
    assert sorted(row for share in shares for part in share for row in part if row >= 0) == list(range(7))


def test_a_small_or_empty_source_gives_what_it_has_and_says_so(held_out, tokenizer, tmp_path, caplog):
    rows = rows_of(held_out, "language", tokenizer, num_rows=50)
    assert f"holds {len(rows)} of the 50 sequences asked for" in caplog.text
    write_documents(tmp_path, "nothing", tokenizer, [])
    assert rows_of(tmp_path, "nothing", tokenizer) == []


def test_shards_of_another_tokenizer_are_refused(held_out, tokenizer):
    class Other:
        fingerprint, vocabulary_size = "another", tokenizer.vocabulary_size

    with pytest.raises(UserError, match="prepare the data again with the model's tokenizer"):
        rows_of(held_out, "code", Other())


@pytest.fixture
def load_recipe(tmp_path, training_data, held_out):
    """Load the small recipe, with validation on held-out code and overrides."""
    path = write_recipe(tmp_path / "mini.toml", runs=tmp_path / "runs", data=training_data)
    table = "[validation]\nevery_steps = 4\nsequences_per_source = 5\n[validation.shards]\ncode = "
    path.write_text(path.read_text() + f'{table}"{held_out}/shards/code/held_out"\n')
    return lambda *overrides: load(TrainingRecipe, path, overrides)


def test_validation_may_change_at_a_resume_and_is_said_to(load_recipe, caplog):
    caplog.set_level("INFO")
    claim(load_recipe(), launch={})
    assert "resuming with another" not in caplog.text
    other = load_recipe("validation.every_steps=2")
    assert examine(other) == "started"
    claim(other, launch={})
    assert "resuming with another validation setting: validation.every_steps is 4 there and 2 here" in caplog.text


def test_processes_compare_their_held_out_shards(load_recipe, held_out):
    folder = held_out / "shards/code/held_out"
    other = load_recipe(f"validation.shards.code={folder.parents[1]}/language/held_out")
    assert describe_start(load_recipe())["validation"] != describe_start(other)["validation"]
    with pytest.raises(UserError, match=r"validation\.shards\.code: there are no finished shards at .*nowhere; "):
        describe_start(load_recipe(f"validation.shards.code={folder}/nowhere"))


def test_a_table_without_sources_is_refused(load_recipe):
    with pytest.raises(UserError, match=r"validation\.shards"):
        load_recipe("validation.shards={}")
