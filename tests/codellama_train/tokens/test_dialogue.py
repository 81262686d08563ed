from __future__ import annotations

from pathlib import Path

import pytest
import sentencepiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codellama_train.console import UserError
from codellama_train.tokens.dialogue import TAGS, Message, dialogue_prompt, encode_dialogue
from codellama_train.tokens.tokenizer import SentencePieceTokenizer, parse_model

contents = st.text(st.characters(exclude_characters="▁", exclude_categories=("Cs",)), max_size=40).filter(
    lambda text: not any(tag in text for tag in TAGS)
)


def said(*contents: str, system: str | None = None) -> list[Message]:
    roles = ("user", "assistant")
    messages = [Message(roles[index % 2], content) for index, content in enumerate(contents)]
    return messages if system is None else [Message("system", system), *messages]


def test_ids_are_those_of_metas_code(llama2: SentencePieceTokenizer, shared_data: Path):
    plain = sentencepiece.SentencePieceProcessor(str(shared_data / "llama2_tokenizer" / "tokenizer.model"))
    messages = said(" Hi \n", " Hello.\n", "Sort a list", "sorted(x)", "Thanks ", system=" Be brief. ")
    first = plain.encode("[INST] <<SYS>>\n Be brief. \n<</SYS>>\n\n Hi [/INST] Hello. ")
    second = plain.encode("[INST] Sort a list [/INST] sorted(x) ")
    last = plain.encode("[INST] Thanks [/INST]")
    assert encode_dialogue(llama2, messages[:-1])[0] == [1, *first, 2, 1, *second, 2]
    assert dialogue_prompt(llama2, messages) == [1, *first, 2, 1, *second, 2, 1, *last]


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


def test_the_prompt_is_the_beginning_of_what_is_learned(tokenizer: SentencePieceTokenizer):
    messages = said("a", "b", "c", "d", system="s")
    ids, _ = encode_dialogue(tokenizer, messages)
    prompt = dialogue_prompt(tokenizer, messages[:-1])
    assert ids[: len(prompt)] == prompt


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


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_message_with_a_tag_is_refused(tokenizer: SentencePieceTokenizer, tag: str, place: int):
    contents = ["system", "request", "answer"]
    contents[place] += tag
    with pytest.raises(UserError, match="a tag of the chat format"):
        encode_dialogue(tokenizer, said(*contents[1:], system=contents[0]))


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
def test_turns_out_of_order_are_refused(tokenizer: SentencePieceTokenizer, roles: list[str], problem: str):
    with pytest.raises(UserError, match=problem):
        encode_dialogue(tokenizer, [Message(role, "x") for role in roles])  # type: ignore[arg-type]


def test_a_prompt_that_ends_with_an_answer_is_refused(tokenizer: SentencePieceTokenizer):
    with pytest.raises(UserError, match="ends with the user's message"):
        dialogue_prompt(tokenizer, said("a", "b"))
