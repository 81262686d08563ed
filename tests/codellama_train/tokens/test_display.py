from __future__ import annotations

from pathlib import Path

import pytest
from token_worlds import dialogue_documents, mixture_of, read_rows, text_documents, write_shards

from codellama_train.tokens.display import decoded, describe_row
from codellama_train.tokens.infilling import infilled_document
from codellama_train.tokens.tokenizer import SentencePieceTokenizer


def test_control_tokens_are_named_and_unpredicted_ones_marked(tokenizer: SentencePieceTokenizer):
    ids = infilled_document(tokenizer, "a = ", "b", " + c", "psm")
    shown = decoded(tokenizer, ids, [False, *[True] * (len(ids) - 1)])
    assert shown == "«⟨BOS⟩»⟨PRE⟩ a = ⟨SUF⟩ + c⟨MID⟩b⟨EOT⟩"


@pytest.mark.parametrize("sequence_length", [24, 64])
def test_rows_are_told_document_by_document(tokenizer: SentencePieceTokenizer, tmp_path: Path, sequence_length: int):
    code = write_shards(tmp_path / "code", tokenizer, text_documents(tokenizer, ["x = 1", "y = 2\n" * 9]))
    dialogues = write_shards(
        tmp_path / "dialogues", tokenizer, dialogue_documents(tokenizer, [[("Hi", "Hello")]]), kind="dialogues"
    )
    mixture = mixture_of(
        tokenizer, {"code": (0.5, code), "talk": (0.5, dialogues)}, sequence_length=sequence_length, num_lanes=1
    )
    rows, _ = read_rows(mixture, 0, 12)
    shown = "\n".join(describe_row(mixture, row, is_first_predicted=False) for row in rows)
    assert "── code, in order, tokens 0 to" in shown
    assert "goes on from the row before ──" in shown
    assert "── padding before the next of talk, tokens" in shown
    assert "«⟨BOS⟩ [INST] Hi [/INST]» Hello ⟨EOS⟩" in shown
