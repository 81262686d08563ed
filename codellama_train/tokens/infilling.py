"""The infilling transform: a document cut into prefix, middle and suffix, its middle moved to the end (section 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy.typing as npt

from codellama_train.tokens.randomness import RandomKey, as_fraction, as_integer, random_words
from codellama_train.tokens.tokenizer import SentencePieceTokenizer

InfillingMode = Literal["psm", "spm"]
SPM_FRACTION = 0.5  # section 2.3


def infilled_document(
    tokenizer: SentencePieceTokenizer, prefix: str, middle: str, suffix: str, mode: InfillingMode
) -> list[int]:
    """Give the training ids of a document whose middle is to be filled in, from BOS to EOT.

    In SPM, prefix and middle are encoded as one text, so no token is split where they meet (section 2.3).
    """
    if mode == "psm":
        answer = tokenizer.encode_infilling(middle)
        return [*infilling_prompt(tokenizer, prefix, suffix, "psm"), *answer, tokenizer.sentinels.end]
    answer = tokenizer.encode(prefix + middle)
    return [*infilling_prompt(tokenizer, "", suffix, "spm"), *answer, tokenizer.sentinels.end]


def infilling_prompt(tokenizer: SentencePieceTokenizer, prefix: str, suffix: str, mode: InfillingMode) -> list[int]:
    """Give the ids after which a model writes the middle."""
    sentinels = tokenizer.sentinels
    before, after = tokenizer.encode(prefix), tokenizer.encode_infilling(suffix)
    if mode == "psm":
        return [tokenizer.bos_id, sentinels.prefix, *before, sentinels.suffix, *after, sentinels.middle]
    return [tokenizer.bos_id, sentinels.prefix, sentinels.suffix, *after, sentinels.middle, *before]


def maybe_infill(
    tokenizer: SentencePieceTokenizer, ids: Sequence[int] | npt.NDArray[Any], *, key: RandomKey, rate: float, room: int
) -> list[int] | None:
    """Decide over one document, given as its stored ids; None leaves it in order.

    It is infilled if its coin of chance `rate` says so and both its plain and its transformed form fit into `room`
    tokens: only documents that no context boundary cuts are transformed (section 2.3).
    """
    if len(ids) + 2 > room or not falls_to_infilling(key, rate):
        return None
    text = tokenizer.decode(ids.tolist() if not isinstance(ids, Sequence) else ids)
    infilled = infilled_document(tokenizer, *split_for_infilling(text, *uniform_cuts(key, len(text))), drawn_mode(key))
    return infilled if len(infilled) <= room else None


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


def split_for_infilling(text: str, first: int, second: int) -> tuple[str, str, str]:
    """Cut `text` at two positions, counted in code points, into prefix, middle and suffix."""
    return text[:first], text[first:second], text[second:]


def restore_document(tokenizer: SentencePieceTokenizer, ids: Sequence[int]) -> str:
    """Give back the text of one training document, plain (BOS … EOS) or infilled (BOS … EOT).

    One case cannot be told apart by its ids: PSM with an empty prefix looks like SPM and is read as such, so a space at
    the very beginning of its text is lost.
    """
    sentinels = tokenizer.sentinels
    bos, body, end = ids[0], ids[1:-1], ids[-1]
    if bos != tokenizer.bos_id or end not in (tokenizer.eos_id, sentinels.end):
        raise ValueError(f"a document runs from BOS to EOS or EOT, not from id {bos} to id {end}")
    if end == tokenizer.eos_id:
        return tokenizer.decode(body)
    suffix_at, middle_at = body.index(sentinels.suffix), body.index(sentinels.middle)
    before, after = body[1:suffix_at], body[suffix_at + 1 : middle_at]
    middle, suffix = body[middle_at + 1 :], tokenizer.decode_infilling(after)
    if not before:
        return tokenizer.decode(middle) + suffix
    return tokenizer.decode(before) + tokenizer.decode_infilling(middle) + suffix
