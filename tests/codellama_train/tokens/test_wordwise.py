"""Encoding only what a cut touches gives the ids that encoding the part's whole text gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer, parse_model
from codellama_train.tokens.tokenizer import WholeText
from codellama_train.tokens.wordwise import WordwiseText, word_tables

any_text = st.text(st.characters(exclude_characters="▁", exclude_categories=("Cs",)), max_size=80)
code_like = st.lists(
    st.sampled_from([*" \n\tab(=é漢🙂", "  ", "    ", "return ", "x1", "\u0301", "<s>", " <PRE>"]), max_size=40
).map("".join)
relaxed = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(tokenizer: SentencePieceTokenizer, text: str, cuts: tuple[int, int]) -> None:
    first, second = sorted(min(cut, len(text)) for cut in cuts)
    document = tokenizer.document(np.array(tokenizer.encode(text), dtype=np.uint16))
    whole = WholeText(tokenizer, text)
    assert isinstance(document, WordwiseText)
    assert document.num_characters == whole.num_characters
    for stop in (first, second, len(text)):
        assert document.encode_up_to(stop).tolist() == whole.encode_up_to(stop).tolist()
    for start, stop in ((first, second), (second, len(text)), (0, first), (first, len(text))):
        assert document.encode_between(start, stop).tolist() == whole.encode_between(start, stop).tolist()


@relaxed
@given(text=any_text | code_like, cuts=st.tuples(st.integers(0, 80), st.integers(0, 80)))
@example(text="", cuts=(0, 0))
@example(text="    a", cuts=(2, 3))
@example(text="a    b", cuts=(3, 3))
@example(text=" \U0001f642 x", cuts=(1, 2))
def test_parts_have_the_ids_of_their_text(tokenizer: SentencePieceTokenizer, text, cuts):
    check(tokenizer, text, cuts)


@relaxed
@given(text=any_text | code_like, cuts=st.tuples(st.integers(0, 80), st.integers(0, 80)))
def test_so_they_have_with_published_vocabularies(real_tokenizer: SentencePieceTokenizer, text, cuts):
    check(real_tokenizer, text, cuts)


def test_every_cut_of_real_source_gives_its_texts_ids(tokenizer: SentencePieceTokenizer, source_texts: list[str]):
    text = source_texts[1][:700]
    for cut in range(len(text)):
        check(tokenizer, text, (cut, cut // 2))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda model: setattr(model.pieces[300], "piece", "a▁b"),
        lambda model: setattr(model.pieces[300], "piece", "a▁"),
        lambda model: setattr(model.trainer_spec, "model_type", 1),
        lambda model: setattr(model.normalizer_spec, "remove_extra_whitespaces", True),
        lambda model: setattr(model.normalizer_spec, "add_dummy_prefix", False),
        lambda model: setattr(model.normalizer_spec, "precompiled_charsmap", b"x"),
    ],
)
def test_models_whose_words_depend_on_each_other_are_known(tokenizer: SentencePieceTokenizer, spoil):
    model = parse_model(tokenizer.model_bytes)
    assert word_tables(model) is not None
    spoil(model)
    assert word_tables(model) is None
