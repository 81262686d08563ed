"""What a byte-level `tokenizer.json` says, and what is refused: other kinds, and whatever would change the text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, field_validator

from codellama_train.console import UserError
from codellama_train.tokens.chat_template import DROP_GUARD

TOKENIZER_FILE = "tokenizer.json"

PRINTABLE = (*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1))
UNPRINTABLE = sorted({*range(256)} - {*PRINTABLE})
# The sign that stands for each byte in the pieces.
BYTE_OF_SIGN = {chr(byte): byte for byte in PRINTABLE} | {chr(256 + at): byte for at, byte in enumerate(UNPRINTABLE)}
# Bytes that a base may lack pieces for: those in no UTF-8 text (DeepSeek-Coder), control characters, and the first
# bytes of private and unassigned planes (SmolLM2). A text that has one loses it, and so is not exact.
DISPENSABLE = {0xC0, 0xC1, *range(0xF1, 0x100), *range(0x20), 0x7F} - {*b"\t\n\r"}

# Pre-tokenizers that keep every character of the text, unless they are told to remove what they split at.
TEXT_KEEPING = {"ByteLevel", "Split", "Digits", "Punctuation", "UnicodeScripts"}


class AddedToken(BaseModel):
    """A token that the `tokenizers` library finds in a text before anything else."""

    id: int
    content: str
    special: bool = False


class BpeModel(BaseModel):
    """Pieces and merges."""

    vocab: dict[str, int]
    merges: list[tuple[str, str]]
    ignore_merges: bool = False
    dropout: float | None = None
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None

    @field_validator("merges", mode="before")
    @classmethod
    def _as_pairs(cls, merges: list[Any]) -> list[Any]:
        """Read the older spelling too: one string with a space between the two."""
        return [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]


class TokenizerFile(BaseModel):
    """The parts of a `tokenizer.json` that decide ids."""

    model: BpeModel
    added_tokens: list[AddedToken] = []
    normalizer: dict[str, Any] | None = None
    pre_tokenizer: dict[str, Any] | None = None

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The pre-tokenizers in order, without nesting and without what decides no id."""
        return list(_flat(self.pre_tokenizer))


def read_tokenizer_file(path: Path, content: bytes) -> TokenizerFile:
    """Read and check the content of the `tokenizer.json` at `path`."""
    try:
        stored = json.loads(content)
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    model = stored.get("model") if isinstance(stored, dict) else None
    model = model if isinstance(model, dict) else {}
    kind = model.get("type", "BPE" if "merges" in model else None)  # the oldest files do not say
    if kind != "BPE":
        raise UserError(f"{path} holds a tokenizer of type {kind!r}; give one of byte-level BPE or a tokenizer.model")
    if model.get("byte_fallback"):
        raise UserError(
            f"{path} was made from a SentencePiece model (byte_fallback); put its tokenizer.model beside it"
        )
    try:
        file = TokenizerFile.model_validate(stored)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path} is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    for complaint in _complaints(file):
        raise UserError(f"{path} {complaint}; only a byte-level BPE tokenizer that gives every text back can be used")
    return file


def _complaints(file: TokenizerFile) -> Iterator[str]:
    """Say what keeps a BPE tokenizer from encoding every text so that it comes back, the same each time."""
    model, steps = file.model, file.steps
    byte_levels = [step for step in steps if step["type"] == "ByteLevel"]
    if len(byte_levels) != 1:
        yield f"has {len(byte_levels)} ByteLevel pre-tokenizers instead of one"
    if byte_levels[0]["add_prefix_space"]:
        yield "adds a space before every text (add_prefix_space)"
    for step in steps:
        if step["type"] not in TEXT_KEEPING or step.get("behavior") == "Removed":
            yield f"may drop or change text in its pre-tokenizer {step['type']}"
    if file.normalizer is not None and not _is_identity(file.normalizer):
        yield f"changes text by its normalizer {file.normalizer.get('type')}"
    if model.dropout:
        yield f"encodes at random (dropout={model.dropout})"
    if model.continuing_subword_prefix or model.end_of_word_suffix:
        yield "marks the beginnings or ends of words in its pieces"
    if missing := [sign for sign, byte in BYTE_OF_SIGN.items() if byte not in DISPENSABLE and sign not in model.vocab]:
        yield f"has no pieces for {len(missing)} of the bytes that text is made of ({missing[0]!r} is the first)"


def _is_identity(normalizer: dict[str, Any]) -> bool:
    """Tell whether a normalizer leaves text alone: a sequence of nothing, as DeepSeek's, or our exports' own."""
    if normalizer.get("type") == "Sequence":
        return all(map(_is_identity, normalizer.get("normalizers", [])))
    return normalizer == DROP_GUARD


def _flat(step: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    kind = step.get("type") if step else None
    if step is None:
        return
    if kind == "Sequence":
        for inner in step.get("pretokenizers", []):
            yield from _flat(inner)
    elif kind == "ByteLevel":
        adds, splits = step.get("add_prefix_space", True), step.get("use_regex", True)
        yield {"type": kind, "add_prefix_space": adds, "use_regex": splits}
    else:
        yield {**step, "type": str(kind)}
