"""Which dialogue format shards were written in and a model has learned, as their own files say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from codellama_train.console import UserError

DialogueFormat = Literal["inst", "source_destination"]
FORMAT_KEY = "dialogue_format"  # in the manifest of dialogue shards and in tokenizer_config.json
TOKENIZER_CONFIG = "tokenizer_config.json"
PUBLISHED_MARK = "Destination: user"  # in the chat template of the published 70B Instruct model


def format_of_shards(manifest: Mapping[str, Any]) -> DialogueFormat | None:
    """Give the format that a shard manifest records; None if the shards are no dialogues."""
    if manifest["kind"] != "dialogues":
        return None
    return known_format(manifest.get(FORMAT_KEY, "inst"), where=FORMAT_KEY)


def format_of_mixture(manifests: Mapping[str, Mapping[str, Any]]) -> DialogueFormat | None:
    """Give the one format of a mixture's dialogues, by its sources' manifests; None if it has no dialogues."""
    formats = {name: format_of_shards(manifest) for name, manifest in manifests.items()}
    first_of = {dialogue_format: name for name, dialogue_format in reversed(formats.items()) if dialogue_format}
    if len(first_of) > 1:
        (one, name), (another, other_name) = first_of.items()
        raise UserError(
            f"data.sources.{name} holds dialogues in the format {one!r}, data.sources.{other_name} in {another!r}; "
            "a model learns one format: prepare both with the same dialogue_format"
        )
    return next(iter(first_of), None)


def format_of_folder(folder: Path) -> DialogueFormat | None:
    """Give the format that a model folder records; None if it says nothing of dialogues.

    The published 70B Instruct model has no such record and is known by its chat template.
    """
    path = folder / TOKENIZER_CONFIG
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if FORMAT_KEY in config:
        return known_format(config[FORMAT_KEY], where=f"{path}: {FORMAT_KEY}")
    return "source_destination" if PUBLISHED_MARK in str(config.get("chat_template")) else None


def known_format(value: object, *, where: str) -> DialogueFormat:
    """Take a stored value as a format; refuses what is none."""
    for name in get_args(DialogueFormat):
        if value == name:
            known: DialogueFormat = name
            return known
    raise UserError(f"{where}={value!r} is no dialogue format; there are {', '.join(get_args(DialogueFormat))}")
