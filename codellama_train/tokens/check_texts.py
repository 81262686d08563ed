"""Texts that tell encoders apart: the same ones every time, code-like, in any script, and full of control strings."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence

from codellama_train.tokens.hugging_face import PROBES
from codellama_train.tokens.tokenizer import Tokenizer

CHECKED_CHARACTERS = 200_000
PARTS_PER_TEXT = 200
SURROGATES = range(0xD800, 0xE000)
COMMON_PLANES = 0x3000  # most of what people write lies below, with accents, combining marks and many scripts
CONTROL_STRINGS = (
    "<s>",
    "</s>",
    "<unk>",
    "<0x0A>",
    "<0xE2>",
    "<|endoftext|>",
    "[INST]",
    "<<SYS>>",
    "Source: ",
    "<step>",
)
CODE = (
    *("def ", "return ", "self.", "import numpy as np\n", "for (int i = 0; i < n; ++i) {", "}\n", "();\n", "// ", "# "),
    *(
        "fn main() -> Result<(), Box<dyn Error>>",
        "SELECT * FROM t WHERE id = ",
        "<div class='x'>",
        "&amp;",
        "\\n",
        "\\u00e9",
    ),
    *(
        "0",
        "17",
        "3.14",
        "0xFFFF",
        "1e-10",
        "==",
        "!=",
        "->",
        "::",
        "...",
        "___",
        "camelCaseName",
        "SNAKE_CASE",
        "HTTPServer2",
    ),
    *(
        " ",
        "  ",
        "    ",
        "        ",
        "\n",
        "\n\n",
        "\r\n",
        "\t",
        "\t\t",
        "a",
        "I",
        "x1",
        "don't",
        "we'll",
        " \n",
        "\u00a0",
    ),
)


def check_texts(tokenizer: Tokenizer) -> Iterator[str]:
    """Give the probes, then about 200 kB of generated text in which nothing of the tokenizer's own goes unspelt."""
    yield from PROBES
    rng = random.Random(0)
    controls = control_strings(tokenizer)
    for control in controls:
        yield from (control, f" {control}", f"{control} ", f"a{control}b", f"  {control}{control}\n")
    parts: Sequence[Callable[[], str]] = (
        lambda: rng.choice(CODE),
        lambda: rng.choice(CODE),
        lambda: rng.choice(controls),
        lambda: " " * rng.randrange(90),
        lambda: "".join(chr(rng.randrange(COMMON_PLANES)) for _ in range(rng.randrange(8))),
        lambda: any_character(rng),
        lambda: rng.choice("▁\u0301\u200d\ufeff\ufffd\0\x7f"),
        lambda: "".join(rng.choices("abcdefghijklmnopqrstuvwxyzABCXYZ_0123456789", k=rng.randrange(30))),
    )
    characters = 0
    while characters < CHECKED_CHARACTERS:
        text = "".join(rng.choice(parts)() for _ in range(rng.randrange(PARTS_PER_TEXT)))
        characters += len(text)
        yield text


def control_strings(tokenizer: Tokenizer) -> Sequence[str]:
    """Spell the control tokens that every tokenizer here has, as names and with the space that names begin with."""
    sentinels = tokenizer.sentinels
    ids = (tokenizer.bos_id, tokenizer.eos_id, tokenizer.step_id, sentinels.prefix, sentinels.suffix)
    names = [name for token in (*ids, sentinels.middle, sentinels.end) if (name := tokenizer.piece(token)) is not None]
    return [*CONTROL_STRINGS, *names, *(name.replace("▁", " ") for name in names), *(name[1:] for name in names)]


def any_character(rng: random.Random) -> str:
    """Draw a code point of any plane; surrogates are no text."""
    while (code_point := rng.randrange(sys.maxunicode + 1)) in SURROGATES:
        pass
    return chr(code_point)
