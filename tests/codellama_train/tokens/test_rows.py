"""Segments, positions and labels where documents are kept apart."""

from __future__ import annotations

import numpy as np
import pytest
from token_worlds import mixture_of, read_rows

from codellama_train.tokens.rows import IGNORED, empty_row
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet


@pytest.mark.parametrize("infilling_rate", [None, 0.9])
def test_masked_documents_predict_themselves_alone(
    tokenizer: SentencePieceTokenizer, functions: ShardSet, dialogues: ShardSet, infilling_rate
):
    sources = {"functions": (0.7, functions), "dialogues": (0.3, dialogues)}
    rows = []
    for document_mask in (False, True):
        mixture = mixture_of(
            tokenizer,
            sources,
            sequence_length=128,
            num_lanes=3,
            infilling_rate=infilling_rate,
            document_mask=document_mask,
        )
        rows.append([row for lane in range(3) for row in read_rows(mixture, lane, 40)[0]])
    num_ends = 0
    for plain, masked in zip(*rows, strict=True):
        np.testing.assert_array_equal(plain.input_ids, masked.input_ids)
        ends = [segment.stop - 1 for segment in masked.segments if segment.ends_document]
        expected = plain.labels.copy()
        expected[ends] = IGNORED
        np.testing.assert_array_equal(masked.labels, expected)
        num_ends += len(ends)
    assert num_ends > 100


def test_positions_restart_with_every_segment(tokenizer: SentencePieceTokenizer, functions: ShardSet):
    mixture = mixture_of(tokenizer, {"functions": (1.0, functions)}, sequence_length=128, num_lanes=1)
    for row in read_rows(mixture, 0, 20)[0]:
        assert [segment.start for segment in row.segments] == np.flatnonzero(row.positions == 0).tolist()
        assert (np.diff(row.positions)[row.positions[1:] != 0] == 1).all()
        assert all(row.input_ids[segment.start] == tokenizer.bos_id for segment in row.segments if not segment.offset)


def test_an_empty_row_is_padding_that_nothing_predicts():
    row = empty_row(8, pad_id=5)
    assert (row.labels == IGNORED).all()
    assert (row.input_ids == 5).all()
    assert row.positions.tolist() == list(range(8))
    assert not row.infilled.any()
