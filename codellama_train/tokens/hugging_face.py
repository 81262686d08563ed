"""The tokenizer as Hugging Face files, and the proof that a fresh process reads the same ids from them.

`tokenizer_class` is PreTrainedTokenizerFast because transformers 5 rebuilds the Llama classes from their parts and so
loses the order of merges. `split_special_tokens` keeps a literal `<s>` in a source file from becoming BOS. A model that
has learned dialogues goes without it: its chat template spells special tokens, and servers apply it without options.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codellama_train import artifacts
from codellama_train.tokens.byte_level_file import TOKENIZER_FILE
from codellama_train.tokens.chat_export import exported_names, fit_for_chat, template_of
from codellama_train.tokens.dialogue import Message, dialogue_prompt
from codellama_train.tokens.dialogue_format import FORMAT_KEY, TOKENIZER_CONFIG, DialogueFormat, format_of_folder
from codellama_train.tokens.tokenizer import Tokenizer

PROBES = (
    *("", " ", "  ", "a", " a", "  a", "    def f(self):\n        return x  \n", "a" + " " * 33 + "b", " " * 70),
    *("\n", "\n\n\n", "\r", "\t\tx\t= 1\r\n", "\x00\x01\x7f", "\ufeffbom", "\ufffd", "\u00a0nbsp\u2009thin"),
    *(
        "naïve café",
        "e\u0301 n\u0303",
        "漢字かな交じり文",
        "한국어",
        "Привет, мир",
        "مرحبا",
        "🙂 \U0001d518",
        "👩\u200d👧 🏳\ufe0f",
    ),
    *("▁", " ▁ x", "▁▁a▁", "1234567890", "3.14e-10 0xFF 1_000", "x" * 300, "=" * 80, "if (a<b&&c>d){a[i]->b;}"),
    *("(?P<s>[^<]*)</s>", "<s>", "</s> <unk>", "<0x0A>", "[INST] <<SYS>>\n [/INST]"),
    *(" <PRE>", "<PRE>", " <SUF> <MID>", " <EOT", "▁<PRE>", "a▁<EOT><EOT>", " <MID>x"),
)

PROBE_DIALOGUE = (
    Message("system", " Be </s> brief.\n"),
    *(Message("user", "<s> f(x)?\n"), Message("assistant", "def f(x):\n    return x"), Message("user", " 漢字 ")),
)

ENCODE_IN_FRESH_PROCESS = """\
import json, sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
texts, dialogue, options = json.load(sys.stdin)
ids = [tokenizer(text, add_special_tokens=False, **options)["input_ids"] for text in texts]
chat = tokenizer.apply_chat_template(dialogue, add_generation_prompt=True, return_dict=False) if dialogue else None
special = [tokenizer.bos_token_id, tokenizer.eos_token_id]
pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
decoded = [tokenizer.decode(tokens, clean_up_tokenization_spaces=False) for tokens in ids]
json.dump({"ids": ids, "chat": chat, "special": special, "pieces": pieces, "decoded": decoded}, sys.stdout)
"""


def write_fast_tokenizer(
    tokenizer: Tokenizer,
    folder: Path,
    *,
    dialogue_format: DialogueFormat | None = None,
    model_max_length: int | None = None,
) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`; without `model_max_length`, transformers assumes no limit.

    `dialogue_format` is that of the dialogues which the model has learned; None if it has learned none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fast = tokenizer.for_transformers()
    if dialogue_format is not None:
        fast = fit_for_chat(fast, tokenizer, dialogue_format)
    artifacts.write_text(folder / TOKENIZER_FILE, fast.to_str(pretty=True) + "\n")
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokenizer.piece(tokenizer.bos_id),
        "eos_token": tokenizer.piece(tokenizer.eos_id),
        "split_special_tokens": dialogue_format is None,
        "clean_up_tokenization_spaces": False,
        "chat_template": template_of(tokenizer, fast, dialogue_format),
    }
    if dialogue_format is not None:
        config[FORMAT_KEY] = dialogue_format
    if fast.model.unk_token is not None:
        config["unk_token"] = fast.model.unk_token
    if model_max_length is not None:
        config["model_max_length"] = model_max_length
    artifacts.write_json(folder / TOKENIZER_CONFIG, config)


def check_fast_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Reload the folder with AutoTokenizer in a fresh process and demand the tokenizer's own ids, names and texts.

    The probes include the name of every token that is an id only. Where the folder is that of a model that has learned
    dialogues, its chat template must give the ids of a prompt, too.
    """
    dialogue_format = format_of_folder(folder)
    controls = tokenizer.for_transformers().get_added_tokens_decoder().values()
    texts = [*PROBES, *(form for token in controls for form in (token.content, f"x {token.content}"))]
    dialogue = PROBE_DIALOGUE if dialogue_format else ()
    reloaded = encode_in_fresh_process(folder, texts, dialogue)
    require_equal("bos and eos ids", [tokenizer.bos_id, tokenizer.eos_id], reloaded["special"])
    require_equal("names of the ids", exported_names(tokenizer, dialogue_format), reloaded["pieces"])
    if dialogue_format is not None:
        require_equal("ids of a chat", dialogue_prompt(tokenizer, dialogue, dialogue_format), reloaded["chat"])
    for text, ids, decoded in zip(texts, reloaded["ids"], reloaded["decoded"], strict=True):
        require_equal(f"ids of {text!r}", tokenizer.encode(text), ids)
        require_equal(f"text of the ids of {text!r}", tokenizer.decode(ids), decoded)


def encode_in_fresh_process(folder: Path, texts: list[str], dialogue: Sequence[Message]) -> dict[str, Any]:
    """Encode texts with the tokenizer that AutoTokenizer finds in a folder, in a process that knows nothing else.

    A tokenizer with a dialogue is told to split the special tokens of texts; others do so by themselves.
    """
    options = {"split_special_tokens": True} if dialogue else {}
    process = subprocess.run(
        [sys.executable, "-c", ENCODE_IN_FRESH_PROCESS, str(folder)],
        input=json.dumps([texts, [asdict(message) for message in dialogue], options]),
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    if process.returncode:
        raise RuntimeError(f"AutoTokenizer cannot read {folder}: {process.stderr.strip().splitlines()[-1]}")
    reloaded: dict[str, Any] = json.loads(process.stdout)
    return reloaded


def require_equal(what: str, expected: object, found: object) -> None:
    """Raise an error that names the first difference."""
    if expected != found:
        raise RuntimeError(
            f"the exported tokenizer differs from the trained one in the {what}: expected {expected}, found {found}"
        )
