"""Which dialogue format manifests and model folders record, and the refusal of two in one mixture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from token_worlds import dialogue_documents, text_documents, write_shards

from codellama_train.console import UserError
from codellama_train.tokens.dialogue_format import format_of_folder, format_of_mixture, format_of_shards
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer

DOCUMENTS, OLD = {"kind": "documents"}, {"kind": "dialogues"}
INST, STEPS = OLD | {"dialogue_format": "inst"}, OLD | {"dialogue_format": "source_destination"}


def test_manifests_say_their_format_and_older_ones_are_inst(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    shards = write_shards(
        tmp_path / "old", tokenizer, dialogue_documents(tokenizer, [[("Hi", "Hello")]]), kind="dialogues"
    )
    assert format_of_shards(shards.manifest) == "inst"
    assert format_of_shards(write_shards(tmp_path / "text", tokenizer, text_documents(tokenizer, "x")).manifest) is None
    assert format_of_shards(shards.manifest | {"dialogue_format": "source_destination"}) == "source_destination"


def test_a_mixture_has_one_format():
    assert format_of_mixture({"code": DOCUMENTS}) is None
    assert format_of_mixture({"talk": OLD, "code": DOCUMENTS, "more": INST}) == "inst"
    assert format_of_mixture({"code": DOCUMENTS, "talk": STEPS}) == "source_destination"
    with pytest.raises(UserError) as refused:
        format_of_mixture({"code": DOCUMENTS, "talk": INST, "old": OLD, "more": STEPS})
    for part in ("data.sources.talk", "'inst'", "data.sources.more", "'source_destination'", "dialogue_format"):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, None),
        ({}, None),
        ({"chat_template": "{{ '[INST] ' }}"}, None),
        ({"dialogue_format": "inst"}, "inst"),
        ({"dialogue_format": "source_destination"}, "source_destination"),
        ({"chat_template": "{{ 'Source: assistant\\nDestination: user\\n\\n ' }}"}, "source_destination"),
        ({"chat_template": "{{ 'Destination: user' }}", "dialogue_format": "inst"}, "inst"),
    ],
)
def test_a_model_folder_says_its_format(tmp_path: Path, config: dict[str, str] | None, expected: str | None):
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert format_of_folder(tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "tokenizer_config.json is not JSON"),
        ('{"dialogue_format": "chatml"}', "='chatml' is no dialogue format; there are inst, source_destination"),
    ],
)
def test_what_names_no_format_is_refused(tmp_path: Path, text: str, problem: str):
    (tmp_path / "tokenizer_config.json").write_text(text)
    with pytest.raises(UserError, match=problem):
        format_of_folder(tmp_path)
