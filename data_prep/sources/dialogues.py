"""Dialogues as documents: the text that stages before the shards see, and the messages back from it.

The text is the [INST] format, so that rules, searches for duplicates and redaction meet plain words. It can be read
back because a message that holds one of the format's tags never becomes a document.
"""

from __future__ import annotations

from collections.abc import Sequence

from codellama_train.tokens.dialogue import TAGS, Message, request_text, system_and_turns, with_system_inside

REQUEST, ANSWER = "[INST] ", " [/INST] "
SYSTEM, SYSTEM_END = "<<SYS>>\n", "\n<</SYS>>\n\n"


def text_of_messages(messages: Sequence[Message]) -> str:
    """Write a dialogue of checked, stripped messages as text; each exchange begins on a line of its own."""
    turns = with_system_inside(*system_and_turns(messages))
    pairs = zip(turns[::2], turns[1::2], strict=True)
    return "".join(f"{request_text(user)} {assistant.content}\n" for user, assistant in pairs)


def messages_of_text(text: str) -> tuple[Message, ...]:
    """Read the messages back from what `text_of_messages` wrote."""
    messages: list[Message] = []
    for exchange in text.split(REQUEST.strip())[1:]:
        request, _, answer = exchange.partition(ANSWER.strip())
        if not messages and SYSTEM_END.strip() in request:
            system, _, request = request.partition(SYSTEM_END.strip())
            messages.append(Message("system", system.replace(SYSTEM.strip(), "", 1).strip()))
        messages += [Message("user", request.strip()), Message("assistant", answer.strip())]
    return tuple(messages)


def fault_of(messages: Sequence[Message]) -> str | None:
    """Say why messages are not a dialogue to learn from; None if they are one."""
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    if any(tag in message.content for message in messages for tag in TAGS):
        return "holds_chat_tag"
    if not all(message.content for message in messages):
        return "empty_message"
    if [turn.role for turn in turns] != ["user", "assistant"] * (len(turns) // 2) or not turns:
        return "turns_out_of_order" if len(turns) % 2 == 0 else "ends_without_answer"
    return None
