"""Dialogues in the format of the 7B to 34B Instruct models: `[INST] request [/INST] answer`.

Ids are those of Meta's reference code; the loss counts the answers and the EOS that closes each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from codellama_train.console import UserError
from codellama_train.tokens.tokenizer import SentencePieceTokenizer

TAGS = ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<step>")


@dataclass(frozen=True)
class Message:
    """What one side says."""

    role: Literal["system", "user", "assistant"]
    content: str


def encode_dialogue(tokenizer: SentencePieceTokenizer, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
    """Give a dialogue's ids, BOS and EOS around each exchange, and which of them are predicted.

    An exchange is encoded as one text, as the reference does; its predicted part starts where its ids leave those of
    the request alone.
    """
    turns = without_system_message(messages)
    if not turns or len(turns) % 2:
        raise UserError(f"a dialogue to learn from ends with an answer, but this one has {len(turns)} turns")
    return _encode_exchanges(tokenizer, turns)


def _encode_exchanges(tokenizer: SentencePieceTokenizer, turns: Sequence[Message]) -> tuple[list[int], list[bool]]:
    ids: list[int] = []
    predicted: list[bool] = []
    for user, assistant in zip(turns[::2], turns[1::2], strict=True):
        request = tokenizer.encode(request_text(user))
        exchange = tokenizer.encode(f"{request_text(user)} {assistant.content.strip()} ")
        num_shared = common_prefix_length(request, exchange)
        ids += [tokenizer.bos_id, *exchange, tokenizer.eos_id]
        predicted += [False] * (1 + num_shared) + [True] * (len(exchange) - num_shared + 1)
    return ids, predicted


def dialogue_prompt(tokenizer: SentencePieceTokenizer, messages: Sequence[Message]) -> list[int]:
    """Give the ids after which a model answers the last message, which is the user's."""
    turns = without_system_message(messages)
    if len(turns) % 2 == 0:
        raise UserError(f"a prompt ends with the user's message, but this dialogue has {len(turns)} turns")
    earlier, _ = _encode_exchanges(tokenizer, turns[:-1])
    return [*earlier, tokenizer.bos_id, *tokenizer.encode(request_text(turns[-1]))]


def request_text(user: Message) -> str:
    """Write the user's side of an exchange."""
    return f"[INST] {user.content.strip()} [/INST]"


def without_system_message(messages: Sequence[Message]) -> list[Message]:
    """Check tags and order, and put a system message inside the first request, where the format has it."""
    for message in messages:
        refuse_tags(message)
    turns = list(messages)
    if turns and turns[0].role == "system":
        if len(turns) < 2:
            raise UserError("a system message needs a user's message after it")
        content = f"<<SYS>>\n{turns[0].content}\n<</SYS>>\n\n{turns[1].content}"
        turns = [Message(turns[1].role, content), *turns[2:]]
    for index, turn in enumerate(turns):
        expected = ("user", "assistant")[index % 2]
        if turn.role != expected:
            raise UserError(f"turn {index + 1} of a dialogue is the {expected}'s, but it has the role {turn.role!r}")
    return turns


def refuse_tags(message: Message) -> None:
    """Refuse a message that could be taken for the format itself."""
    for tag in TAGS:
        if tag in message.content:
            raise UserError(f"a message of the {message.role} contains {tag}, a tag of the chat format; remove it")


def common_prefix_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Count the ids that two sequences share at their beginnings."""
    pairs = zip(first, second, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
