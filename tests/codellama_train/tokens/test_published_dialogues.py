"""Dialogue ids against the published rules, followed with plain sentencepiece on published tokenizers.

The rules are about prompts; what is learned in the 70B format is a prompt and the ids of the answer after it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from codellama_train.tokens.dialogue import Message, dialogue_prompt, encode_dialogue
from codellama_train.tokens.dialogue_format import DialogueFormat
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer

BOS, EOS, STEP = 1, 2, 32_015
Said = list[tuple[str, str]]

SHORT: Said = [("user", "Sort a list"), ("assistant", "sorted(x)")]
DIALOGUES: dict[str, Said] = {
    "one exchange": SHORT,
    "several turns": [
        ("user", " Hi \n"),
        ("assistant", "\n Hello.\n "),
        *SHORT,
        ("user", "2 + 2?"),
        ("assistant", "4"),
    ],
    "system": [("system", " Be brief. "), *SHORT, ("user", "Thanks "), ("assistant", "You're welcome — 🙂")],
    "empty system": [("system", ""), *SHORT],
    "system of spaces": [("system", " \n"), *SHORT],
    "empty request": [("user", ""), ("assistant", "What?")],
    "empty answer": [("user", "Say nothing"), ("assistant", ""), *SHORT],
    "code": [("user", "def f(x):\n    return x\n"), ("assistant", "```python\ndef f(x):\n\treturn 2 * x\n```")],
    "special tokens as text": [("user", "What is <s>?</s> <unk>"), ("assistant", "<s> is ▁<PRE> <PRE> not")],
}


def inst_prompt(plain: Any, said: Said) -> list[int]:
    """Follow the 7B to 34B rule: the system message goes into the first request, every exchange is one text."""
    texts = [text for _, text in said]
    if said[0][0] == "system":
        system, request, *rest = texts
        texts = [f"<<SYS>>\n{system}\n<</SYS>>\n\n{request}", *rest]
    ids = []
    for request, answer in zip(texts[::2], texts[1::2], strict=False):
        ids += [BOS, *plain.encode("[INST] " + request.strip() + " [/INST] " + answer.strip() + " "), EOS]
    return [*ids, BOS, *plain.encode("[INST] " + texts[-1].strip() + " [/INST]")] if len(texts) % 2 else ids


def steps_prompt(plain: Any, said: Said) -> list[int]:
    """Follow the 70B rule: header and body of each message are texts of their own, the step token ends it."""
    ids = [BOS]
    for role, text in said if said[0][0] == "system" else [("system", ""), *said]:
        to = "\nDestination: user" if role == "assistant" else ""
        ids += plain.encode(" Source: " + role + to)
        ids += plain.encode("\n\n " + text.strip()) if text else []
        ids.append(STEP)
    return [*ids, *plain.encode(" Source: assistant\nDestination: user"), *plain.encode("\n\n ")]


def without_leading_space(plain: Any, text: str) -> list[int]:
    """Encode as the published code does what continues other tokens: after a symbol that is one token."""
    ids: list[int] = plain.encode("☺" + text)[2:]
    return ids


def learned_inst(plain: Any, said: Said) -> list[int]:
    return inst_prompt(plain, said)


def learned_steps(plain: Any, said: Said) -> list[int]:
    return [*steps_prompt(plain, said[:-1]), *without_leading_space(plain, said[-1][1].strip()), STEP]


PUBLISHED = {"inst": (inst_prompt, learned_inst), "source_destination": (steps_prompt, learned_steps)}


def as_messages(said: Said) -> list[Message]:
    return [Message(role, text) for role, text in said]  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["llama2_tokenizer", "mistral_v1_tokenizer"])
def published(request: pytest.FixtureRequest, shared_data: Path) -> tuple[SentencePieceTokenizer, Any]:
    """A published tokenizer, as ours and as plain sentencepiece reads it."""
    path = shared_data / request.param / "tokenizer.model"
    return SentencePieceTokenizer.from_folder(path), sentencepiece.SentencePieceProcessor(str(path))


@pytest.mark.parametrize("dialogue_format", list(PUBLISHED))
@pytest.mark.parametrize("name", list(DIALOGUES))
def test_ids_follow_the_published_rules(
    published: tuple[SentencePieceTokenizer, Any], name: str, dialogue_format: DialogueFormat
):
    tokenizer, plain = published
    said = DIALOGUES[name]
    prompt_ids, learned_ids = PUBLISHED[dialogue_format]
    assert encode_dialogue(tokenizer, as_messages(said), dialogue_format)[0] == learned_ids(plain, said)
    for prompt in ([*said, ("user", " And now?\n")], said[:-1]):
        assert dialogue_prompt(tokenizer, as_messages(prompt), dialogue_format) == prompt_ids(plain, prompt)


def test_ids_on_llama_2s_vocabulary_number_by_number(llama2: SentencePieceTokenizer):
    system, user, assistant = (
        [29871, 7562, 29901, 1788],  # ▁ ▁Source : ▁system
        [29871, 7562, 29901, 1404],  # ▁ ▁Source : ▁user
        [29871, 7562, 29901, 20255, 13, 14994, 3381, 29901, 1404],  # … ▁assistant \n Dest ination : ▁user
    )
    request, answer = [20025, 263, 1051], [12705, 29898, 29916, 29897]  # ▁Sort ▁a ▁list; ▁sorted ( x )
    messages = as_messages(SHORT)
    learned, predicted = encode_dialogue(llama2, messages, "source_destination")
    body = [29871, 13, 13]  # ▁ \n \n, and then the words
    given = [BOS, *system, STEP, *user, *body, *request, STEP, *assistant, *body, 29871]
    assert learned == [*given, 24582, *answer[1:], STEP]  # sorted, its space being the prompt's last token
    assert predicted == [False] * len(given) + [True] * (len(answer) + 1)
    assert dialogue_prompt(llama2, messages[:1], "source_destination") == given
    again, predicted = encode_dialogue(llama2, [*messages, *messages], "source_destination")
    history = [*given[:-1], *answer, STEP]  # what was answered before is one text with the opening
    assert again[: len(history)] == history
    assert predicted[: len(history)] == [False] * (len(given) - 1) + [True] * (len(answer) + 1)
    inst = [BOS, 518, 25580, 29962, *request, 518, 29914, 25580, 29962]  # ▁[ INST ] … ▁[ / INST ]
    learned, predicted = encode_dialogue(llama2, messages, "inst")
    assert learned == [*inst, *answer, 29871, EOS]
    assert predicted == [False] * len(inst) + [True] * (len(answer) + 2)
    assert dialogue_prompt(llama2, messages[:1], "inst") == inst
