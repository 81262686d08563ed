from __future__ import annotations

from itertools import takewhile
from operator import eq

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codellama_train.console import UserError
from codellama_train.tokens.dialogue import TAGS, Message, dialogue_prompt, encode_dialogue, end_of_answer
from codellama_train.tokens.dialogue_format import DialogueFormat
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer, parse_model

STEPS: DialogueFormat = "source_destination"
FORMATS: tuple[DialogueFormat, ...] = ("inst", STEPS)

contents = st.text(st.characters(exclude_characters="▁", exclude_categories=("Cs",)), max_size=40).filter(
    lambda text: not any(tag in text for tag in TAGS)
)


def said(*contents: str, system: str | None = None) -> list[Message]:
    roles = ("user", "assistant")
    messages = [Message(roles[index % 2], content) for index, content in enumerate(contents)]
    return messages if system is None else [Message("system", system), *messages]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(exchanges=st.lists(st.tuples(contents, contents), min_size=1, max_size=3))
def test_the_loss_counts_answers_and_eos(tokenizer: SentencePieceTokenizer, exchanges: list[tuple[str, str]]):
    ids, predicted = encode_dialogue(tokenizer, said(*(content for pair in exchanges for content in pair)))
    assert len(ids) == len(predicted)
    starts = [index for index, token in enumerate(ids) if token == tokenizer.bos_id]
    ends = [index for index, token in enumerate(ids) if token == tokenizer.eos_id]
    assert [start for start in starts if start] == [end + 1 for end in ends[:-1]]
    for start, end, (request, answer) in zip(starts, ends, exchanges, strict=True):
        prompt = dialogue_prompt(tokenizer, said(request))
        assert ids[start : start + len(prompt)] == prompt
        assert predicted[start : end + 1] == [False] * len(prompt) + [True] * (end + 1 - start - len(prompt))
        assert tokenizer.decode_infilling(ids[start + len(prompt) : end]) == f" {answer.strip()} "


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(exchanges=st.lists(st.tuples(contents, contents), min_size=1, max_size=3), system=st.none() | contents)
def test_the_loss_counts_answers_and_the_steps_that_close_them(
    tokenizer: SentencePieceTokenizer, exchanges: list[tuple[str, str]], system: str | None
):
    messages = said(*(content for pair in exchanges for content in pair), system=system)
    ids, predicted = encode_dialogue(tokenizer, messages, STEPS)
    assert len(ids) == len(predicted)
    assert (ids.count(tokenizer.bos_id), ids.count(tokenizer.eos_id)) == (1, 0)
    assert ids[0] == tokenizer.bos_id
    ends = [index for index, token in enumerate(ids) if token == tokenizer.step_id]
    assert len(ends) == 1 + 2 * len(exchanges), "an empty system message stands where none is given"
    header, opening = tokenizer.encode(" Source: assistant\nDestination: user"), tokenizer.encode("\n\n ")
    expected = [False] * len(ids)
    for number, (_, answer) in enumerate(exchanges):
        start, end = ends[2 * number + 1] + 1 + len(header), ends[2 * number + 2]
        is_last = number == len(exchanges) - 1
        assert tokenizer.decode_infilling(ids[start:end]) == (f" \n\n {answer.strip()}" if answer or is_last else "")
        num_given = sum(takewhile(bool, map(eq, opening, ids[start:end])))
        prompt = dialogue_prompt(tokenizer, messages[: len(messages) - 2 * (len(exchanges) - number) + 1], STEPS)
        assert prompt[: start + num_given] == ids[: start + num_given]
        assert num_given == len(opening) or not is_last
        expected[start + num_given : end + 1] = [True] * (end + 1 - start - num_given)
    assert predicted == expected


@pytest.mark.parametrize("dialogue_format", FORMATS)
def test_the_prompt_is_the_beginning_of_what_is_learned(
    tokenizer: SentencePieceTokenizer, dialogue_format: DialogueFormat
):
    messages = said("a", "b", "c", "def d():", system="s")
    ids, predicted = encode_dialogue(tokenizer, messages, dialogue_format)
    prompt = dialogue_prompt(tokenizer, messages[:-1], dialogue_format)
    assert ids[: len(prompt)] == prompt
    assert predicted[len(prompt) - 1 :] == [False] + [True] * (len(ids) - len(prompt))


def test_where_request_and_answer_share_a_token_it_is_predicted(tokenizer: SentencePieceTokenizer):
    model = parse_model(tokenizer.model_bytes)
    model.pieces.add(piece="]▁", score=1.0)  # merges before all others
    merging = SentencePieceTokenizer(model.SerializeToString())
    request, exchange = merging.encode("[INST] go [/INST]"), merging.encode("[INST] go [/INST] ok then ")
    shared = len(request) - 1
    assert request[:shared] == exchange[:shared]
    assert merging.piece(exchange[shared]) == "]▁"
    ids, predicted = encode_dialogue(merging, said("go", "ok then"))
    assert ids == [merging.bos_id, *exchange, merging.eos_id]
    assert predicted == [False] * (1 + shared) + [True] * (len(exchange) - shared + 1)


@pytest.mark.parametrize("dialogue_format", FORMATS)
@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_message_with_a_tag_is_refused(
    tokenizer: SentencePieceTokenizer, tag: str, place: int, dialogue_format: DialogueFormat
):
    contents = ["system", "request", "answer"]
    contents[place] += tag
    with pytest.raises(UserError, match="a tag of the chat format"):
        encode_dialogue(tokenizer, said(*contents[1:], system=contents[0]), dialogue_format)


@pytest.mark.parametrize("dialogue_format", FORMATS)
@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        ([], "ends with an answer, but this one has 0 turns"),
        (["user"], "ends with an answer, but this one has 1 turns"),
        (["assistant", "user"], "turn 1 of a dialogue is the user's"),
        (["user", "user"], "turn 2 of a dialogue is the assistant's"),
        (["user", "system"], "turn 2 of a dialogue is the assistant's, but it has the role 'system'"),
        (["system"], "needs a user's message"),
        (["system", "assistant"], "turn 1 of a dialogue is the user's"),
    ],
)
def test_turns_out_of_order_are_refused(
    tokenizer: SentencePieceTokenizer, roles: list[str], problem: str, dialogue_format: DialogueFormat
):
    with pytest.raises(UserError, match=problem):
        encode_dialogue(tokenizer, [Message(role, "x") for role in roles], dialogue_format)  # type: ignore[arg-type]


@pytest.mark.parametrize("dialogue_format", FORMATS)
def test_a_prompt_that_ends_with_an_answer_is_refused(
    tokenizer: SentencePieceTokenizer, dialogue_format: DialogueFormat
):
    with pytest.raises(UserError, match="ends with the user's message"):
        dialogue_prompt(tokenizer, said("a", "b"), dialogue_format)


@pytest.mark.parametrize("dialogue_format", FORMATS)
def test_an_answer_ends_where_generation_stops(tokenizer: SentencePieceTokenizer, dialogue_format: DialogueFormat):
    ids, predicted = encode_dialogue(tokenizer, said("a", "b", "c", "d"), dialogue_format)
    end_id = end_of_answer(tokenizer, dialogue_format)
    assert ids[-1] == end_id
    assert [token for token, counts in zip(ids, predicted, strict=True) if counts].count(end_id) == 2
