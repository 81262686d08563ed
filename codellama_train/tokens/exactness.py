"""Why a document's ids do not give its text back, where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from codellama_train.tokens.tokenizer import Tokenizer

METASPACE = "▁"  # SentencePiece writes a space as this character, U+2581, so that one in a text comes back as a space

InexactCause = Literal["holds_metaspace", "loses_spaces", "other"]


def cause_of_inexactness(tokenizer: Tokenizer, text: str, ids: Sequence[int]) -> InexactCause | None:
    """Say why decoding `ids`, the ids of `text`, gives another text; None for an exact document.

    SentencePiece models of Llama's kind have the first cause alone, models that join or drop spaces the second too;
    byte-level ones have none.
    """
    decoded = tokenizer.decode(ids)
    if decoded == text:
        return None
    if decoded == text.replace(METASPACE, " "):
        return "holds_metaspace"
    return "loses_spaces" if without_spaces(decoded) == without_spaces(text) else "other"


def without_spaces(text: str) -> str:
    """Remove spaces, and the character that stands for them."""
    return text.replace(METASPACE, "").replace(" ", "")
