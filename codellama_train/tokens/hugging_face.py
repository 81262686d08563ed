"""The tokenizer as Hugging Face files, and the proof that a fresh process reads the same ids from them.

`tokenizer_class` is PreTrainedTokenizerFast because transformers 5 rebuilds the Llama classes from their parts and so
loses the order of merges. `split_special_tokens` keeps a literal `<s>` in a source file from becoming BOS; the price is
that `apply_chat_template` needs `tokenizer_kwargs={"split_special_tokens": False}` to give the ids of a dialogue.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.tokens.dialogue import TAGS
from codellama_train.tokens.tokenizer import SentencePieceTokenizer

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # SentencePiece's piece types
BPE = 2  # SentencePiece's model type
SPACE = "▁"
MANY = 1 << 20

CHAT_TEMPLATE = """\
{%- for message in messages %}{% for tag in __TAGS__ %}{% if tag in message['content'] -%}
{{ raise_exception('a message contains ' + tag + ', a tag of the chat format') }}
{%- endif %}{% endfor %}{% endfor -%}
{%- set has_system = messages and messages[0]['role'] == 'system' -%}
{%- set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' if has_system else '' -%}
{%- for message in (messages[1:] if has_system else messages) -%}
{%- if message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') -%}
{{ raise_exception('after an optional system message, user and assistant take turns') }}
{%- endif -%}
{%- if message['role'] == 'user' -%}
{{ bos_token + '[INST] ' + ((system if loop.first else '') + message['content']) | trim + ' [/INST]' }}
{%- else -%}
{{ ' ' + message['content'] | trim + ' ' + eos_token }}
{%- endif -%}
{%- endfor -%}
""".replace("__TAGS__", repr(list(TAGS)))

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

ENCODE_IN_FRESH_PROCESS = """\
import json, sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
texts = json.load(sys.stdin)
ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
special = [tokenizer.bos_token_id, tokenizer.eos_token_id]
pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
decoded = [tokenizer.decode(tokens, clean_up_tokenization_spaces=False) for tokens in ids]
json.dump({"ids": ids, "special": special, "pieces": pieces, "decoded": decoded}, sys.stdout)
"""


def write_fast_tokenizer(
    tokenizer: SentencePieceTokenizer, folder: Path, *, model_max_length: int | None = None
) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`; without `model_max_length`, transformers assumes no limit."""
    folder.mkdir(parents=True, exist_ok=True)
    model = tokenizer.extended_model()
    fast = build_fast_tokenizer(model, bos_id=tokenizer.bos_id)
    artifacts.write_text(folder / "tokenizer.json", fast.to_str(pretty=True) + "\n")
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": model.pieces[tokenizer.bos_id].piece,
        "eos_token": model.pieces[tokenizer.eos_id].piece,
        "unk_token": model.pieces[model.trainer_spec.unk_id].piece,
        "split_special_tokens": True,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    if model_max_length is not None:
        config["model_max_length"] = model_max_length
    artifacts.write_json(folder / "tokenizer_config.json", config)


def build_fast_tokenizer(model: Any, *, bos_id: int) -> Tokenizer:
    """Translate a SentencePiece BPE model for the `tokenizers` library."""
    refuse_untranslatable(model)
    bos = model.pieces[bos_id].piece
    fast = Tokenizer(
        models.BPE(
            vocab={piece.piece: token_id for token_id, piece in enumerate(model.pieces)},
            merges=list(merges_by_score(model)),
            unk_token=model.pieces[model.trainer_spec.unk_id].piece,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    fast.normalizer = normalizers.Sequence(list(normalising_steps(model)))
    fast.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, bos_id)]
    )
    leading_spaces = MANY if model.normalizer_spec.remove_extra_whitespaces else 1
    fast.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", leading_spaces, 0)]
    )
    controls = [piece.piece for piece in model.pieces if piece.type in (UNKNOWN, CONTROL)]
    fast.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in controls])
    return fast


def refuse_untranslatable(model: Any) -> None:
    """Refuse SentencePiece features that Llama's tokenizers do not have and that this translation does not know."""
    normalizer, trainer = model.normalizer_spec, model.trainer_spec
    types = {piece.type for piece in model.pieces}
    if (
        trainer.model_type != BPE
        or normalizer.precompiled_charsmap
        or not normalizer.add_dummy_prefix
        or trainer.treat_whitespace_as_suffix
        or not types <= {NORMAL, UNKNOWN, CONTROL, BYTE}
        or BYTE not in types
    ):
        raise UserError(
            "only a SentencePiece model of Llama's kind can be exported (BPE, byte fallback, identity normaliser, "
            f"dummy prefix); this one is of model type {trainer.model_type} with normaliser {normalizer.name!r}"
        )


def merges_by_score(model: Any) -> Iterator[tuple[str, str]]:
    """List the merges as SentencePiece ranks them: by the score of the piece they form."""
    ids = {piece.piece: token_id for token_id, piece in enumerate(model.pieces) if piece.type == NORMAL}
    for whole in sorted(ids, key=lambda piece: (-model.pieces[ids[piece]].score, ids[piece])):
        pairs = [(whole[:cut], whole[cut:]) for cut in range(1, len(whole))]
        known = [pair for pair in pairs if pair[0] in ids and pair[1] in ids]
        yield from sorted(known, key=lambda pair: (ids[pair[0]], ids[pair[1]]))


def normalising_steps(model: Any) -> Iterator[normalizers.Normalizer]:
    """Give SentencePiece's treatment of spaces."""
    if model.normalizer_spec.remove_extra_whitespaces:
        yield normalizers.Replace(Regex(rf"\A +|[ {SPACE}]+\z"), "")
        yield normalizers.Replace(Regex(" +"), " ")
    yield normalizers.Prepend(SPACE)
    yield normalizers.Replace(" ", SPACE)


def check_fast_tokenizer(folder: Path) -> None:
    """Reload the folder with AutoTokenizer in a fresh process and demand SentencePiece's ids, names and texts.

    The oracle is the `tokenizer.model` in the same folder.
    """
    tokenizer = SentencePieceTokenizer.from_folder(folder)
    reloaded = encode_in_fresh_process(folder, list(PROBES))
    require_equal("bos and eos ids", [tokenizer.bos_id, tokenizer.eos_id], reloaded["special"])
    names = [piece.piece for piece in tokenizer.extended_model().pieces]
    require_equal("names of the ids", names, reloaded["pieces"])
    for text, ids, decoded in zip(PROBES, reloaded["ids"], reloaded["decoded"], strict=True):
        require_equal(f"ids of {text!r}", tokenizer.encode(text), ids)
        require_equal(f"text of the ids of {text!r}", tokenizer.decode(ids), decoded)


def encode_in_fresh_process(folder: Path, texts: list[str]) -> dict[str, Any]:
    """Encode texts with the tokenizer that AutoTokenizer finds in a folder, in a process that knows nothing else."""
    process = subprocess.run(
        [sys.executable, "-c", ENCODE_IN_FRESH_PROCESS, str(folder)],
        input=json.dumps(texts),
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
            f"the exported tokenizer differs from SentencePiece in the {what}: expected {expected}, found {found}"
        )
