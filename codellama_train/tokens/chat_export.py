"""What the Hugging Face files of a model that has learned dialogues have more than others."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer as FastTokenizer

from codellama_train.tokens.chat_template import DROP_GUARD, chat_template
from codellama_train.tokens.dialogue_format import DialogueFormat
from codellama_train.tokens.tokenizer import Tokenizer

STEP_NAME = "<step>"  # of the published 70B Instruct model; templates and people's stop strings spell it


def exported_names(tokenizer: Tokenizer, dialogue_format: DialogueFormat | None) -> list[str]:
    """Name the ids in the exported files: as the tokenizer does, but the step token, where it is used, as published."""
    pieces = [tokenizer.piece(token_id) for token_id in range(tokenizer.vocabulary_size)]
    names = [piece for piece in pieces if piece is not None]
    if dialogue_format == "source_destination" and STEP_NAME not in names:
        names[tokenizer.step_id] = STEP_NAME
    return names


def template_of(tokenizer: Tokenizer, fast: FastTokenizer, dialogue_format: DialogueFormat | None) -> str:
    """Give the chat template for a tokenizer as exported; a model that has learned no dialogues gets the [INST] one."""
    has_steps = dialogue_format == "source_destination"
    return chat_template(
        dialogue_format or "inst",
        implicit_space="" if tokenizer.encode("a") == tokenizer.encode_infilling("a") else " ",
        step_name=exported_names(tokenizer, dialogue_format)[tokenizer.step_id] if has_steps else "",
        special_names=[token.content for token in fast.get_added_tokens_decoder().values()] if dialogue_format else [],
    )


def fit_for_chat(fast: FastTokenizer, tokenizer: Tokenizer, dialogue_format: DialogueFormat) -> FastTokenizer:
    """Give the step token its published name where it is used, and let the tokenizer drop the template's guards."""
    stored: dict[str, Any] = json.loads(fast.to_str())
    if dialogue_format == "source_destination":
        rename(
            stored, tokenizer.piece(tokenizer.step_id), exported_names(tokenizer, dialogue_format)[tokenizer.step_id]
        )
    steps = [DROP_GUARD] if stored["normalizer"] is None else [DROP_GUARD, stored["normalizer"]]
    stored["normalizer"] = {"type": "Sequence", "normalizers": steps}
    return FastTokenizer.from_str(json.dumps(stored))


def rename(stored: dict[str, Any], old_name: str | None, new_name: str) -> None:
    """Give a token of a `tokenizer.json` another name."""
    vocabulary = stored["model"]["vocab"]
    stored["model"]["vocab"] = {new_name if name == old_name else name: vocabulary[name] for name in vocabulary}
    for token in stored["added_tokens"]:
        token["content"] = new_name if token["content"] == old_name else token["content"]
