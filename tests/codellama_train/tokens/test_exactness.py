"""The causes why a document does not come back, found in every tokenizer at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codellama_train.tokens.exactness import cause_of_inexactness
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer

SURROGATES = range(0xD800, 0xE000)
any_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
spaced = st.lists(st.sampled_from(["▁", " ", "  ", "a", "<s>", "é", "\n", "<0x20>"]), max_size=12).map("".join)
relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def cause(tokenizer: SentencePieceTokenizer, text: str) -> str | None:
    return cause_of_inexactness(tokenizer, text, tokenizer.encode(text))


@pytest.fixture(scope="module")
def stories(shared_data: Path) -> SentencePieceTokenizer:
    """A published model that joins and drops spaces."""
    return SentencePieceTokenizer.from_folder(shared_data / "stories260k" / "tok512.model")


@relaxed
@given(st.one_of(any_text, spaced))
@example("▁")
@example("  ▁▁")
def test_with_llamas_settings_the_spaces_own_sign_is_the_only_cause(tokenizer: SentencePieceTokenizer, text: str):
    assert cause(tokenizer, text) == ("holds_metaspace" if "▁" in text else None)


@relaxed
@given(st.one_of(any_text, spaced))
def test_in_published_models_too(real_tokenizer: SentencePieceTokenizer, text: str):
    assert cause(real_tokenizer, text) == ("holds_metaspace" if "▁" in text else None)


@pytest.mark.slow
def test_no_single_character_has_another_cause(real_tokenizer: SentencePieceTokenizer):
    for code_point in (number for number in range(0x110000) if number not in SURROGATES):
        text = f" {chr(code_point)}{chr(code_point)} x"
        assert cause(real_tokenizer, text) == ("holds_metaspace" if text[1] == "▁" else None), text


@relaxed
@given(st.one_of(any_text, spaced))
def test_a_model_that_drops_spaces_has_no_third_cause(stories: SentencePieceTokenizer, text: str):
    assert cause(stories, text) in (None, "holds_metaspace", "loses_spaces")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", None),
        ("a▁b", "holds_metaspace"),
        ("a  b", "loses_spaces"),
        (" a", "loses_spaces"),
        ("a ", "loses_spaces"),
        ("a▁▁b  c", "loses_spaces"),
    ],
)
def test_causes_of_a_model_that_drops_spaces(stories: SentencePieceTokenizer, text: str, expected: str | None):
    assert cause(stories, text) == expected


def test_ids_of_another_text_have_another_cause(tokenizer: SentencePieceTokenizer):
    assert cause_of_inexactness(tokenizer, "a", tokenizer.encode("b")) == "other"
