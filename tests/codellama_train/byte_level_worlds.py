"""Small byte-level tokenizers in the manners of published ones, trained on files that every Python has."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

LLAMA_3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
DEEPSEEK_WORDS = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+")
# Bytes that SmolLM2 has no pieces for, as the signs of its vocabulary; those of the last eleven occur in no text.
LOST_SIGNS = "ĄĆēĔĖĝñòÀÁõö÷øùúûüýþÿ"
DEEPSEEK_BEGIN, DEEPSEEK_END, DEEPSEEK_HOLE, DEEPSEEK_PREFIX, DEEPSEEK_MIDDLE = (
    f"<\uff5c{words}\uff5c>" for words in ("begin▁of▁sentence", "end▁of▁sentence", "fim▁hole", "fim▁begin", "fim▁end")
)
LOST_CHARACTERS = "\x04\x06\x13\x14\x16\x1d"
Change = Callable[[dict[str, Any]], None]


def byte_level(**settings: bool) -> pre_tokenizers.PreTokenizer:
    """Give the step that turns text into the signs of its bytes."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False, **settings)


def split(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Give a step that splits text at matches, which stay."""
    return pre_tokenizers.Split(Regex(pattern), "isolated")


STEPS = {
    "gpt2": [byte_level()],
    "llama3": [split(LLAMA_3_WORDS), byte_level(use_regex=False)],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), byte_level()],
    "deepseek": [*map(split, DEEPSEEK_WORDS), pre_tokenizers.Digits(True), byte_level(use_regex=False)],
}
STYLES = tuple(STEPS)


def write_byte_level(folder: Path, style: str, *, vocabulary_size: int = 500) -> Path:
    """Write `tokenizer.json` and `tokenizer_config.json` of a style and give the folder."""
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    if style in ("smollm", "deepseek"):
        alphabet -= set(LOST_SIGNS if style == "smollm" else LOST_SIGNS[8:])
    first = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] if style == "smollm" else []
    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.Sequence(STEPS[style])
    fast.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=first,
        initial_alphabet=sorted(alphabet),
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    fast.train_from_iterator(
        [Path(str(module.__file__)).read_text("utf-8") for module in (argparse, textwrap)], trainer
    )
    stored = json.loads(fast.to_str())
    globals()[f"_like_{style}"](stored)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "tokenizer.json", stored)
    write_json(folder / "tokenizer_config.json", CONFIGS[style])
    return folder


CONFIGS = {
    "gpt2": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
    "llama3": {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},
    "smollm": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
    "deepseek": {
        "bos_token": {"__type": "AddedToken", "content": DEEPSEEK_BEGIN},
        "eos_token": {"__type": "AddedToken", "content": DEEPSEEK_END},
    },
}


def _like_gpt2(stored: dict[str, Any]) -> None:
    """End the vocabulary with the one special token, and spell merges as one string each."""
    stored["model"]["vocab"]["<|endoftext|>"] = len(stored["model"]["vocab"])
    stored["model"]["merges"] = [" ".join(pair) for pair in stored["model"]["merges"]]
    add_tokens(stored, ["<|endoftext|>"])


def _like_llama3(stored: dict[str, Any]) -> None:
    """Prefer whole words, one of which no merges make, and keep added tokens out of the vocabulary."""
    stored["model"]["ignore_merges"] = True
    stored["model"]["vocab"]["Ġzebra"] = len(stored["model"]["vocab"])
    add_tokens(stored, ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>"])
    add_tokens(stored, ["<tool_call>", "  "], special=False)


def _like_smollm(stored: dict[str, Any]) -> None:
    """Special tokens come first in the vocabulary already."""


def _like_deepseek(stored: dict[str, Any]) -> None:
    """Fill the alphabet with added tokens, infilling ones among them, and normalise by a sequence of nothing."""
    stored["normalizer"] = {"type": "Sequence", "normalizers": []}
    add_tokens(stored, list(LOST_SIGNS[8:]), special=False)
    add_tokens(stored, [DEEPSEEK_BEGIN, DEEPSEEK_END])
    add_tokens(stored, [DEEPSEEK_HOLE, DEEPSEEK_PREFIX, DEEPSEEK_MIDDLE, "<|EOT|>"], special=False)


def add_tokens(stored: dict[str, Any], names: list[str], *, special: bool = True) -> None:
    """List added tokens: under the id they have in the vocabulary, or the next free one."""
    for name in names:
        ids = {**stored["model"]["vocab"], **{token["content"]: token["id"] for token in stored["added_tokens"]}}
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        stored["added_tokens"].append({"id": ids.get(name, len(ids)), "content": name, "special": special, **flags})


def edit(folder: Path, change: Change) -> Path:
    """Change a folder's `tokenizer.json` in place and give the folder."""
    stored = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    change(stored)
    write_json(folder / "tokenizer.json", stored)
    return folder


def write_json(path: Path, value: object) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(value, ensure_ascii=False), "utf-8")


def oracle(folder: Path) -> Tokenizer:
    """Load a `tokenizer.json` in the `tokenizers` library, told to find no added token in text."""
    stored = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    for token in stored["added_tokens"]:
        token["special"] = True
    fast = Tokenizer.from_str(json.dumps(stored))
    fast.encode_special_tokens = True
    fast.decoder = decoders.ByteLevel()
    return fast
