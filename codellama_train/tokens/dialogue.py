"""Dialogues as token ids: the [INST] format of the 7B to 34B Instruct models, and Source/Destination of the 70B.

Ids are those of Meta's reference code; the loss counts the answers and the token that closes each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from codellama_train.console import UserError
from codellama_train.tokens.dialogue_format import DialogueFormat
from codellama_train.tokens.tokenizer import Tokenizer

TAGS = ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<step>")
BODY_OPENING = "\n\n "  # what stands before a message's words in the 70B format

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """What one side says."""

    role: Role
    content: str


def encode_dialogue(
    tokenizer: Tokenizer, messages: Sequence[Message], dialogue_format: DialogueFormat = "inst"
) -> tuple[list[int], list[bool]]:
    """Give a dialogue's ids from BOS on, and which of them are predicted."""
    system, turns = system_and_turns(messages)
    if not turns or len(turns) % 2:
        raise UserError(f"a dialogue to learn from ends with an answer, but this one has {len(turns)} turns")
    if dialogue_format == "inst":
        return _encode_exchanges(tokenizer, with_system_inside(system, turns))
    ids, predicted = _encode_steps(tokenizer, with_system_first(system, turns[:-1]))
    opening, answer = _reply_opening(tokenizer), tokenizer.encode_infilling(turns[-1].content.strip())
    ids += [*opening, *answer, tokenizer.step_id]
    return ids, predicted + [False] * len(opening) + [True] * (len(answer) + 1)


def dialogue_prompt(
    tokenizer: Tokenizer, messages: Sequence[Message], dialogue_format: DialogueFormat = "inst"
) -> list[int]:
    """Give the ids after which a model answers the last message, which is the user's."""
    system, turns = system_and_turns(messages)
    if len(turns) % 2 == 0:
        raise UserError(f"a prompt ends with the user's message, but this dialogue has {len(turns)} turns")
    if dialogue_format == "inst":
        turns = with_system_inside(system, turns)
        earlier, _ = _encode_exchanges(tokenizer, turns[:-1])
        return [*earlier, tokenizer.bos_id, *tokenizer.encode(request_text(turns[-1]))]
    earlier, _ = _encode_steps(tokenizer, with_system_first(system, turns))
    return earlier + _reply_opening(tokenizer)


def end_of_answer(tokenizer: Tokenizer, dialogue_format: DialogueFormat) -> int:
    """Give the token that closes an answer."""
    return tokenizer.eos_id if dialogue_format == "inst" else tokenizer.step_id


def _encode_exchanges(tokenizer: Tokenizer, turns: Sequence[Message]) -> tuple[list[int], list[bool]]:
    """Encode request and answer as one text between BOS and EOS, as the reference does.

    The predicted part starts where an exchange's ids leave those of the request alone.
    """
    ids: list[int] = []
    predicted: list[bool] = []
    for user, assistant in zip(turns[::2], turns[1::2], strict=True):
        request = tokenizer.encode(request_text(user))
        exchange = tokenizer.encode(f"{request_text(user)} {assistant.content.strip()} ")
        num_shared = common_prefix_length(request, exchange)
        ids += [tokenizer.bos_id, *exchange, tokenizer.eos_id]
        predicted += [False] * (1 + num_shared) + [True] * (len(exchange) - num_shared + 1)
    return ids, predicted


def request_text(user: Message) -> str:
    """Write the user's side of an exchange in the [INST] format."""
    return f"[INST] {user.content.strip()} [/INST]"


def _encode_steps(tokenizer: Tokenizer, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
    """Encode every message as header, body and the step token, the header and the body each as a text of its own.

    This is how the reference encodes what was said before a reply. In the reply's place it has an opening of its own,
    whose last token is a space; a reply that is learned follows these very ids, as it does when the model writes it.
    The predicted part of an earlier answer starts where its ids leave those of the opening.
    """
    ids, predicted = [tokenizer.bos_id], [False]
    opening = tokenizer.encode(BODY_OPENING)
    for message in messages:
        header = tokenizer.encode(header_text(message.role))
        body = tokenizer.encode(BODY_OPENING + message.content.strip()) if message.content else []
        is_answer = message.role == "assistant"
        num_given = common_prefix_length(opening, body) if is_answer else len(body)
        ids += [*header, *body, tokenizer.step_id]
        predicted += [False] * (len(header) + num_given) + [is_answer] * (len(body) - num_given + 1)
    return ids, predicted


def _reply_opening(tokenizer: Tokenizer) -> list[int]:
    return tokenizer.encode(header_text("assistant")) + tokenizer.encode(BODY_OPENING)


def header_text(role: Role) -> str:
    """Write who speaks in the 70B format; answers go to the user."""
    return f" Source: {role}" + ("\nDestination: user" if role == "assistant" else "")


def system_and_turns(messages: Sequence[Message]) -> tuple[Message | None, list[Message]]:
    """Check tags and order; None where a dialogue has no system message."""
    for message in messages:
        refuse_tags(message)
    system = messages[0] if messages and messages[0].role == "system" else None
    turns = list(messages[1:] if system else messages)
    if system and not turns:
        raise UserError("a system message needs a user's message after it")
    for index, turn in enumerate(turns):
        expected = ("user", "assistant")[index % 2]
        if turn.role != expected:
            raise UserError(f"turn {index + 1} of a dialogue is the {expected}'s, but it has the role {turn.role!r}")
    return system, turns


def with_system_inside(system: Message | None, turns: Sequence[Message]) -> list[Message]:
    """Put a system message inside the first request, where the [INST] format has it."""
    if system is None:
        return list(turns)
    content = f"<<SYS>>\n{system.content}\n<</SYS>>\n\n{turns[0].content}"
    return [Message("user", content), *turns[1:]]


def with_system_first(system: Message | None, turns: Sequence[Message]) -> list[Message]:
    """Put a system message before the turns, an empty one where there is none, as the 70B format has it."""
    return [system or Message("system", ""), *turns]


def refuse_tags(message: Message) -> None:
    """Refuse a message that could be taken for the format itself."""
    for tag in TAGS:
        if tag in message.content:
            raise UserError(f"a message of the {message.role} contains {tag}, a tag of the chat format; remove it")


def common_prefix_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Count the ids that two sequences share at their beginnings."""
    pairs = zip(first, second, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
