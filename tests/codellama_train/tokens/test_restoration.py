"""Whatever is packed, every exact document comes back from its sequences."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from token_worlds import mixture_of, read_rows, text_documents, write_shards

from codellama_train.tokens.restoration import restored_documents
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=50) | st.text(" \n▁aé漢🙂", max_size=50)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    documents=st.lists(texts, min_size=1, max_size=12, unique=True).filter(any),
    sequence_length=st.integers(8, 90),
    best_fit_documents=st.none() | st.integers(1, 9),
    seed=st.integers(0, 2**32),
)
def test_any_text_comes_back(
    tokenizer: SentencePieceTokenizer, tmp_path_factory, documents, sequence_length, best_fit_documents, seed
):
    folder = tmp_path_factory.mktemp("shards") / "texts"
    shards = write_shards(folder, tokenizer, text_documents(tokenizer, documents))
    mixture = mixture_of(
        tokenizer,
        {"texts": (1.0, shards)},
        sequence_length=sequence_length,
        num_lanes=2,
        infilling_rate=0.9,
        best_fit_documents=best_fit_documents,
        seed=seed,
    )
    for lane in range(2):
        rows, _ = read_rows(mixture, lane, 8)
        for restored in restored_documents(tokenizer, rows):
            if shards.is_exact(restored.origin.document):
                assert restored.text == documents[restored.origin.document]
            else:
                assert restored.form == "in order"
                assert "▁" in documents[restored.origin.document]


@pytest.mark.parametrize("best_fit_documents", [None, 12])
def test_nothing_is_lost_and_nothing_comes_twice(
    tokenizer: SentencePieceTokenizer, functions: ShardSet, files: ShardSet, best_fit_documents
):
    mixture = mixture_of(
        tokenizer,
        {"functions": (0.5, functions), "files": (0.5, files)},
        sequence_length=256,
        num_lanes=3,
        infilling_rate=0.9,
        best_fit_documents=best_fit_documents,
    )
    for lane in range(3):
        rows, states = read_rows(mixture, lane, 90)
        whole_windows = max(index for index, state in enumerate(states) if state.window is None) + 1
        rows, states = rows[:whole_windows], states[:whole_windows]
        restored = [document.origin for document in restored_documents(tokenizer, rows)]
        assert len(set(restored)) == len(restored)
        segments = [segment for row in rows for segment in row.segments]
        unfinished = {segment.origin for segment in segments} - set(restored)
        drawn = {
            mixture.orders[index].draw(lane, number)
            for index in range(2)
            for number in range(states[-1].documents[index])
        }
        assert {(origin.document, origin.epoch) for origin in (*restored, *unfinished)} == drawn
        assert all(row.segments[-1].stop == 256 for row in rows)


def test_documents_begun_before_the_first_row_are_passed_over(tokenizer: SentencePieceTokenizer, functions: ShardSet):
    mixture = mixture_of(tokenizer, {"functions": (1.0, functions)}, sequence_length=64, num_lanes=1)
    rows, _ = read_rows(mixture, 0, 40)
    begun_before = next(index for index, row in enumerate(rows) if row.segments[0].offset)
    all_of_them = list(restored_documents(tokenizer, rows))
    later = list(restored_documents(tokenizer, rows[begun_before:]))
    assert later
    assert later == all_of_them[-len(later) :]
    assert rows[begun_before].segments[0].origin not in {document.origin for document in later}
