"""The infilling transform: a document cut into prefix, middle and suffix, its middle moved to the end (section 2.3)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from codellama_train.tokens.randomness import RandomKey, as_fraction, as_integer, random_words
from codellama_train.tokens.tokenizer import DocumentText, IdArray, Tokenizer

InfillingMode = Literal["psm", "spm"]
SPM_FRACTION = 0.5  # section 2.3


class InfilledDocument(NamedTuple):
    """A transformed document, BOS and EOT included."""

    ids: IdArray
    mode: InfillingMode


def infilled_document(tokenizer: Tokenizer, prefix: str, middle: str, suffix: str, mode: InfillingMode) -> list[int]:
    """Give the training ids of a document whose middle is to be filled in, from BOS to EOT.

    In SPM, prefix and middle are encoded as one text, so no token is split where they meet (section 2.3).
    """
    if mode == "psm":
        answer = tokenizer.encode_infilling(middle)
        return [*infilling_prompt(tokenizer, prefix, suffix, "psm"), *answer, tokenizer.sentinels.end]
    answer = tokenizer.encode(prefix + middle)
    return [*infilling_prompt(tokenizer, "", suffix, "spm"), *answer, tokenizer.sentinels.end]


def infilling_prompt(tokenizer: Tokenizer, prefix: str, suffix: str, mode: InfillingMode) -> list[int]:
    """Give the ids after which a model writes the middle."""
    sentinels = tokenizer.sentinels
    before, after = tokenizer.encode(prefix), tokenizer.encode_infilling(suffix)
    if mode == "psm":
        return [tokenizer.bos_id, sentinels.prefix, *before, sentinels.suffix, *after, sentinels.middle]
    return [tokenizer.bos_id, sentinels.prefix, sentinels.suffix, *after, sentinels.middle, *before]


def maybe_infill(
    tokenizer: Tokenizer, ids: IdArray, *, key: RandomKey, rate: float, room: int
) -> InfilledDocument | None:
    """Decide over one *exact* document, given as its stored ids; None leaves it in order.

    It is infilled if its coin of chance `rate` says so and both its plain and its transformed form fit into `room`
    tokens: only documents that no context boundary cuts are transformed (section 2.3).
    """
    if len(ids) + 2 > room or not falls_to_infilling(key, rate):
        return None
    text = tokenizer.document(ids)
    infilled = infilled_ids(tokenizer, text, uniform_cuts(key, text.num_characters), drawn_mode(key))
    return infilled if len(infilled.ids) <= room else None


def infilled_ids(
    tokenizer: Tokenizer, text: DocumentText, cuts: tuple[int, int], mode: InfillingMode
) -> InfilledDocument:
    """Give what `infilled_document` does, from a stored document cut at two places."""
    first, second = cuts
    bos_id, sentinels = tokenizer.bos_id, tokenizer.sentinels
    before: tuple[IdArray | list[int], ...] = ([bos_id, sentinels.prefix],)
    if mode == "psm":
        before, middle = (*before, text.encode_up_to(first)), text.encode_between(first, second)
    else:
        middle = text.encode_up_to(second)
    suffix = text.encode_between(second, text.num_characters)
    parts = (*before, [sentinels.suffix], suffix, [sentinels.middle], middle, [sentinels.end])
    return InfilledDocument(np.concatenate(parts), mode)


def falls_to_infilling(key: RandomKey, rate: float) -> bool:
    """Toss the document's rate coin, which knows nothing of its length."""
    return as_fraction(random_words(key, "rate")[0]) < rate


def drawn_mode(key: RandomKey) -> InfillingMode:
    """Toss the document's format coin."""
    return "spm" if as_fraction(random_words(key, "format")[0]) < SPM_FRACTION else "psm"


def uniform_cuts(key: RandomKey, length: int) -> tuple[int, int]:
    """Draw two independent uniform positions from 0 to `length` inclusive, in order: any part may be empty."""
    first, second = (as_integer(word, length + 1) for word in random_words(key, "cuts"))
    return min(first, second), max(first, second)
