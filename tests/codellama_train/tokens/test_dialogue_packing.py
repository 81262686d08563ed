"""Dialogues of the 70B format among rehearsal documents: whole, one BOS each, answers and steps predicted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from token_worlds import identify, mixture_of, read_rows, text_documents, write_shards

from codellama_train.tokens.dialogue import Message, encode_dialogue
from codellama_train.tokens.rows import IGNORED
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet, TokenizedDocument

TEXTS = [f"def rehearse_{number}(value):\n    return value + {number}\n" for number in range(40)]


@pytest.fixture(scope="module")
def shards(tokenizer: SentencePieceTokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ShardSet]:
    """Dialogues of one to three exchanges, with and without a system message, and functions to rehearse."""
    folder = tmp_path_factory.mktemp("shards")
    dialogues = []
    for number in range(30):
        messages = [Message("system", f"Reader {number}.")] if number % 3 == 0 else []
        for turn in range(1 + number % 3):
            messages += [Message("user", f"Add {turn} to {number}"), Message("assistant", f"return {number} + {turn}")]
        ids, predicted = encode_dialogue(tokenizer, messages, "source_destination")
        dialogues.append(TokenizedDocument(identify(str(messages)), ids, is_exact=True, predicted=predicted))
    return {
        "dialogues": write_shards(folder / "dialogues", tokenizer, dialogues, kind="dialogues"),
        "functions": write_shards(folder / "functions", tokenizer, text_documents(tokenizer, TEXTS)),
    }


@pytest.mark.parametrize("sequence_length", [192, 500])
def test_rows_hold_whole_dialogues_and_predict_answers_and_steps(
    tokenizer: SentencePieceTokenizer, shards: dict[str, ShardSet], sequence_length: int
):
    talk = shards["dialogues"]
    assert talk.manifest["longest_document"] <= sequence_length
    known = {tuple(talk.ids(n).tolist()): talk.predicted(n).tolist() for n in range(talk.num_documents)}
    functions = {tuple(tokenizer.encode(text)) for text in TEXTS}
    sources = {"dialogues": (0.8, talk), "functions": (0.2, shards["functions"])}
    mixture = mixture_of(tokenizer, sources, sequence_length=sequence_length, num_lanes=2)
    rows, _ = read_rows(mixture, 1, 40_000 // sequence_length)
    ids = np.concatenate([row.input_ids for row in rows])
    labels = np.concatenate([row.labels for row in rows])
    predicted = np.concatenate(([False], labels[:-1] != IGNORED))
    np.testing.assert_array_equal(labels[:-1][predicted[1:]], ids[1:][predicted[1:]])
    seen, after_dialogue = set(), True  # nothing predicts the very first token either
    starts = np.flatnonzero(ids == tokenizer.bos_id).tolist()
    for start, end in pairwise(starts):
        body = ids[start:end].tolist()
        while body[-1] == tokenizer.eos_id and not predicted[start + len(body) - 1]:
            body.pop()  # padding, which nothing predicts
        counted = predicted[start : start + len(body)].tolist()
        if tuple(body) in known:
            assert counted == known[tuple(body)]
            assert start // sequence_length == (start + len(body) - 1) // sequence_length, "a dialogue is never cut"
            seen.add(tuple(body))
        else:
            assert tuple(body[1:-1]) in functions
            assert body[-1] == tokenizer.eos_id
            assert counted == [not after_dialogue] + [True] * (len(body) - 1)
        after_dialogue = tuple(body) in known
    assert seen == known.keys(), "every dialogue came"
