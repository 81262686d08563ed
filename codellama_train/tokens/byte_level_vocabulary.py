"""Which ids of a byte-level tokenizer are text and which are controls, and where the infilling tokens go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from codellama_train.console import UserError
from codellama_train.tokens.byte_level_file import BYTE_OF_SIGN, TokenizerFile
from codellama_train.tokens.dialogue_format import TOKENIZER_CONFIG
from codellama_train.tokens.tokenizer import Sentinels

MODEL_CONFIG_FILES = ("config.json", "generation_config.json")

# How bases that infill spell prefix, suffix and middle. DeepSeek-Coder's hole stands where the suffix begins.
KNOWN_SENTINELS = (
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # noqa: RUF001 - DeepSeek-Coder
)
# Ours; the second of each where the first is a piece of the base's text. No text is spelled with its first sign.
OWN_SENTINELS = (("<PRE>", "▁<PRE>"), ("<SUF>", "▁<SUF>"), ("<MID>", "▁<MID>"))
END, STEP = ("<EOT>", "▁<EOT>"), ("<step>", "▁<step>")


@dataclass(frozen=True)
class ByteLevelVocabulary:
    """All ids of a byte-level tokenizer by name, the infilling tokens included."""

    pieces: Mapping[str, int]  # of text, in the signs of its bytes
    controls: Mapping[str, int]  # inserted as ids only
    bos_id: int
    eos_id: int
    step_id: int
    sentinels: Sentinels


def read_vocabulary(path: Path, file: TokenizerFile) -> ByteLevelVocabulary:
    """Tell text from controls and add the infilling tokens that the base lacks after its highest id.

    Controls are the tokens that the file lists as added ones, special or not, and those with signs that no byte has.
    A listed token that merges (or a single byte) make anyway is a piece of text like others.
    """
    pieces = dict(file.model.vocab)
    made = {left + right for left, right in file.model.merges} | BYTE_OF_SIGN.keys()
    listed = {token.content: token.id for token in file.added_tokens}
    controls = {name: token_id for name, token_id in pieces.items() if not BYTE_OF_SIGN.keys() >= set(name)}
    controls |= {name: token_id for name, token_id in listed.items() if name not in pieces or name not in made}
    _require_numbering(path, pieces, listed)
    names = {token_id: name for name, token_id in (*pieces.items(), *listed.items())}
    bos_id, eos_id = _document_ids(path, names)
    for token_id in {bos_id, eos_id}:
        if names[token_id] in made:
            raise UserError(f"{path} makes {names[token_id]!r}, its mark of documents, from text; name another token")
        controls[names[token_id]] = token_id
    next_id = len(names)
    for name in (roles := _infilling_names(controls, pieces)):
        if name not in controls:
            controls[name] = next_id
            next_id += 1
    prefix, suffix, middle, end, step_id = (controls[name] for name in roles)
    return ByteLevelVocabulary(
        pieces={name: token_id for name, token_id in pieces.items() if name not in controls},
        controls=controls,
        bos_id=bos_id,
        eos_id=eos_id,
        step_id=step_id,
        sentinels=Sentinels(prefix, suffix, middle, end),
    )


def _require_numbering(path: Path, pieces: Mapping[str, int], listed: Mapping[str, int]) -> None:
    """Refuse ids that the `tokenizers` library would not give to these names."""
    appended = sorted(token_id for name, token_id in listed.items() if name not in pieces)
    agree = all(pieces.get(name, token_id) == token_id for name, token_id in listed.items())
    if not agree or [*sorted(pieces.values()), *appended] != list(range(len(pieces) + len(appended))):
        raise UserError(f"{path} numbers its tokens with gaps or twice; number the vocabulary, then the added tokens")


def _document_ids(path: Path, names: Mapping[int, str]) -> tuple[int, int]:
    """Find BOS and EOS; bases without BOS separate documents by EOS alone, which then serves as both."""
    bos_id, eos_id = (_named_id(path, role, names) for role in ("bos", "eos"))
    if eos_id is None:
        raise UserError(f"{path} is not told which token ends a document; name it as eos_token in {TOKENIZER_CONFIG}")
    return (eos_id if bos_id is None else bos_id), eos_id


def _named_id(path: Path, role: Literal["bos", "eos"], names: Mapping[int, str]) -> int | None:
    """Look a token up by its name in the tokenizer's configuration, else by its id in the model's."""
    token = _read_object(path.parent / TOKENIZER_CONFIG).get(f"{role}_token")
    name = token.get("content") if isinstance(token, dict) else token
    if name is not None:
        ids = [token_id for token_id, known in names.items() if known == name]
        if not ids:
            raise UserError(
                f"{path.parent / TOKENIZER_CONFIG} says {role}_token = {name!r}, which {path.name} does not have"
            )
        return ids[0]
    for config in (path.parent / file_name for file_name in MODEL_CONFIG_FILES):
        token_id = _read_object(config).get(f"{role}_token_id")
        first = token_id[0] if isinstance(token_id, list) and token_id else token_id
        if isinstance(first, int):
            if first not in names:
                raise UserError(f"{config} says {role}_token_id = {first}, which {path.name} does not have")
            return first
    return None


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; absent files say nothing."""
    try:
        value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    return value if isinstance(value, dict) else {}


def _infilling_names(controls: Mapping[str, int], pieces: Mapping[str, int]) -> tuple[str, ...]:
    """Name prefix, suffix, middle, end and step token: those the base has, else ours."""

    def own(candidates: tuple[str, str]) -> str:
        known = (name for name in candidates if name in controls)
        free = (name for name in candidates if name not in pieces)
        return next(known, None) or next(free)

    family = next((names for names in KNOWN_SENTINELS if controls.keys() >= set(names)), None)
    return (*(family or map(own, OWN_SENTINELS)), own(END), own(STEP))
