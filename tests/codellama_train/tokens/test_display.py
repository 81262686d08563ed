from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from token_worlds import dialogue_documents, mixture_of, read_rows, text_documents, write_shards

from codellama_train.tokens.display import decoded, describe_row
from codellama_train.tokens.infilling import infilled_document
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer


def test_control_tokens_are_named_and_unpredicted_ones_marked(tokenizer: SentencePieceTokenizer):
    ids = infilled_document(tokenizer, "a = ", "b", " + c", "psm")
    shown = list(decoded(tokenizer, ids, [False, *[True] * (len(ids) - 1)]))
    assert [part.text for part in shown if part.is_control] == ["⟨BOS⟩", "⟨PRE⟩", "⟨SUF⟩", "⟨MID⟩", "⟨EOT⟩"]
    assert "".join(part.text for part in shown) == "«⟨BOS⟩»⟨PRE⟩ a = ⟨SUF⟩ + c⟨MID⟩b⟨EOT⟩"


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
    shown = "".join(part.text for row in rows for part in describe_row(mixture, row, is_first_predicted=False))
    table = pa.table({"path": [f"project: file_{number}.py" for number in range(2)]})
    pq.write_table(table, tmp_path / "code.parquet", row_group_size=1)
    named = "".join(part.text for row in rows for part in describe_row(mixture, row, is_first_predicted=False))
    for number in range(2):
        name = code.document_id(number).hex()[:12]
        assert f"── code {name}, epoch" in shown
        assert f"── code {name} (project: file_{number}.py), epoch" in named
    names = [code.document_id(number).hex()[:12] for number in range(2)]
    assert any(f"── code {name}, epoch 0, in order, tokens 0 to" in shown for name in names)
    assert re.search(r"in order, tokens 0 to \d+, from its token \d+ of \d+ ──", shown)
    assert re.search(r"── padding before talk [0-9a-f]{12}, tokens", shown)
    assert "«⟨BOS⟩ [INST] Hi [/INST]» Hello ⟨EOS⟩" in shown
