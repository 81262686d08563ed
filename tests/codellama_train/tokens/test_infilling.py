from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codellama_train.tokens.infilling import (
    drawn_mode,
    falls_to_infilling,
    infilled_document,
    infilled_ids,
    infilling_prompt,
    maybe_infill,
    uniform_cuts,
)
from codellama_train.tokens.randomness import RandomKey
from codellama_train.tokens.restoration import restore_document
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer

texts = st.text(st.characters(exclude_characters="▁", exclude_categories=("Cs",)), max_size=60) | st.text(
    "ab( )\n\té漢🙂", max_size=60
)
relaxed = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def key(number: int) -> RandomKey:
    return RandomKey(1, number.to_bytes(16, "little"), 0)


def test_prompt_has_the_ids_that_metas_code_gives(llama2: SentencePieceTokenizer):
    # Golden ids from a discussion in the llama.cpp project (its number 3503) of the reference's output.
    ids = infilling_prompt(llama2, 'def remove_non_ascii(s: str) -> str:\n    """ ', "\n    return result\n", "psm")
    expected = (
        "1 32007 822 3349 29918 5464 29918 294 18869 29898 29879 29901 851 29897 1599 851 29901 13 1678 9995 29871 "
        "32008 13 1678 736 1121 13 32009"
    )
    assert ids == [int(token) for token in expected.split()]


@pytest.mark.parametrize("name", ["llama2_tokenizer", "mistral_v1_tokenizer"])
def test_layouts_are_the_papers(shared_data: Path, name: str):
    tokenizer = SentencePieceTokenizer.from_folder(shared_data / name)
    plain = sentencepiece.SentencePieceProcessor(str(shared_data / name / "tokenizer.model"))

    def without_leading_space(text: str) -> list[int]:
        return plain.encode("☺" + text)[2:]  # the reference's trick

    prefix, middle, suffix = "def f(x):\n    ret", "urn x", " + 1\n"
    psm = [1, 32007, *plain.encode(prefix), 32008, *without_leading_space(suffix), 32009]
    spm = [1, 32007, 32008, *without_leading_space(suffix), 32009]
    assert infilled_document(tokenizer, prefix, middle, suffix, "psm") == [*psm, *without_leading_space(middle), 32010]
    assert infilled_document(tokenizer, prefix, middle, suffix, "spm") == [*spm, *plain.encode(prefix + middle), 32010]
    assert infilling_prompt(tokenizer, prefix, suffix, "psm") == psm
    assert infilling_prompt(tokenizer, prefix, suffix, "spm") == [*spm, *plain.encode(prefix)]


def test_prefix_and_middle_are_one_text_in_spm_and_two_in_psm(tokenizer: SentencePieceTokenizer):
    whole = tokenizer.encode("return x")
    assert len(whole) < len(tokenizer.encode("ret")) + len(tokenizer.encode_infilling("urn x")), (
        "the cut splits a piece"
    )
    assert infilled_document(tokenizer, "ret", "urn x", "", "spm")[-len(whole) - 1 : -1] == whole
    middle = tokenizer.encode_infilling("urn x")
    assert infilled_document(tokenizer, "ret", "urn x", "", "psm")[-len(middle) - 1 : -1] == middle


def test_with_an_empty_prefix_both_prompts_are_one(tokenizer: SentencePieceTokenizer):
    assert infilling_prompt(tokenizer, "", "x = 1", "psm") == infilling_prompt(tokenizer, "", "x = 1", "spm")


@relaxed
@given(text=texts, cuts=st.tuples(st.integers(0, 60), st.integers(0, 60)), mode=st.sampled_from(["psm", "spm"]))
@example(text=" x", cuts=(1, 1), mode="spm")
@example(text="  x y", cuts=(0, 4), mode="psm")
@example(text="", cuts=(0, 0), mode="psm")
@example(text="🙂\u200d🙂", cuts=(1, 2), mode="psm")
@example(text="<PRE> <SUF> <MID> <EOT></s>", cuts=(3, 9), mode="psm")
def test_an_infilled_document_gives_its_text_back(tokenizer: SentencePieceTokenizer, text, cuts, mode):
    first, second = sorted(min(cut, len(text)) for cut in cuts)
    ids = infilled_document(tokenizer, text[:first], text[first:second], text[second:], mode)
    assert ids[0] == tokenizer.bos_id
    assert ids[-1] == tokenizer.sentinels.end
    for sentinel in (tokenizer.sentinels.prefix, tokenizer.sentinels.suffix, tokenizer.sentinels.middle):
        assert ids.count(sentinel) == 1
    assert restore_document(tokenizer, ids, mode) == text
    stored = np.array(tokenizer.encode(text), dtype=np.uint16)
    infilled = infilled_ids(tokenizer, tokenizer.document(stored), (first, second), mode)
    assert (infilled.ids.tolist(), infilled.mode) == (ids, mode), "only the cut words are encoded anew"


@relaxed
@given(text=texts)
def test_a_plain_document_gives_its_text_back(tokenizer: SentencePieceTokenizer, text: str):
    ids = [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]
    assert restore_document(tokenizer, ids, None) == text


def test_a_part_of_a_document_is_refused(tokenizer: SentencePieceTokenizer):
    with pytest.raises(ValueError, match="from BOS to EOS or EOT"):
        restore_document(tokenizer, tokenizer.encode("x = 1"), None)


def test_cuts_are_two_uniform_positions_ends_included():
    counts = Counter(uniform_cuts(key(number), 2) for number in range(9_000))
    expected = {(0, 0): 1, (1, 1): 1, (2, 2): 1, (0, 1): 2, (0, 2): 2, (1, 2): 2}  # of nine
    assert counts.keys() == expected.keys()
    for cuts, weight in expected.items():
        assert counts[cuts] == pytest.approx(1_000 * weight, rel=0.12)
    assert uniform_cuts(key(0), 0) == (0, 0)


def test_parts_average_a_third():
    cuts = [uniform_cuts(key(number), 1_000) for number in range(3_000)]
    assert sum(first for first, _ in cuts) / 3_000 == pytest.approx(1_000 / 3, rel=0.04)
    assert sum(second - first for first, second in cuts) / 3_000 == pytest.approx(1_000 / 3, rel=0.04)


def test_nine_in_ten_are_infilled_half_of_them_spm():
    numbers = [number for number in range(5_000) if falls_to_infilling(key(number), 0.9)]
    assert len(numbers) / 5_000 == pytest.approx(0.9, abs=0.015)
    modes = Counter(drawn_mode(key(number)) for number in numbers)
    assert modes["spm"] / len(numbers) == pytest.approx(0.5, abs=0.025)


def decided(tokenizer: SentencePieceTokenizer, text: str, number: int, *, rate: float, room: int) -> list[int] | None:
    ids = np.array(tokenizer.encode(text), dtype=np.uint16)
    infilled = maybe_infill(tokenizer, ids, key=key(number), rate=rate, room=room)
    return None if infilled is None else infilled.ids.tolist()


def test_the_decision_is_rate_then_room_for_both_forms(tokenizer: SentencePieceTokenizer):
    text = "def f(x):\n    return x\n"
    infilled = decided(tokenizer, text, 0, rate=1.0, room=1_000)
    assert infilled is not None
    assert restore_document(tokenizer, infilled, drawn_mode(key(0))) == text
    longer = max(len(infilled), len(tokenizer.encode(text)) + 2)
    assert decided(tokenizer, text, 0, rate=1.0, room=longer) == infilled
    assert decided(tokenizer, text, 0, rate=1.0, room=longer - 1) is None
    decisions = [decided(tokenizer, text, number, rate=0.5, room=1_000) for number in range(50)]
    assert [decision is not None for decision in decisions] == [falls_to_infilling(key(n), 0.5) for n in range(50)]


def test_an_empty_document_can_be_infilled(tokenizer: SentencePieceTokenizer):
    sentinels = tokenizer.sentinels
    empty = [tokenizer.bos_id, sentinels.prefix, sentinels.suffix, sentinels.middle, sentinels.end]
    assert decided(tokenizer, "", 0, rate=1.0, room=5) == empty
    assert restore_document(tokenizer, empty, "psm") == ""
