#!/usr/bin/env python3
"""Turn token shards into Megatron's .bin and .idx, or such a pair into shards.

python scripts/convert_shards.py to-megatron SHARDS PREFIX --tokenizer FOLDER [--append-eod]
python scripts/convert_shards.py from-megatron PREFIX SHARDS --tokenizer FOLDER
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from codellama_train.console import run_program
from codellama_train.tokens.open_tokenizer import open_tokenizer
from data_prep.shards.indexed_shards import export_shards, import_shards


def main(arguments: Sequence[str]) -> None:
    """Convert one shard set in one direction."""
    options = _parser().parse_args(arguments)
    if options.direction == "to-megatron":
        tokenizer = open_tokenizer(options.tokenizer)
        shards = export_shards(options.shards, options.prefix, tokenizer, append_eos=options.append_eod)
        print(f"{shards.num_documents:,} documents, {shards.num_tokens:,} tokens: {options.prefix}.bin and .idx")
        return
    shards = import_shards(options.prefix, options.shards, options.tokenizer, workers=os.cpu_count() or 1)
    print(
        f"{shards.num_documents:,} documents, {shards.num_tokens:,} tokens, "
        f"{shards.manifest['inexact_documents']:,} of them not exact (never infilled): {options.shards}"
    )
    for name, count in shards.manifest["removed"].items():
        print(f"removed the {name.upper()} of {count:,} documents, which packing adds again")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="convert_shards.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    directions = parser.add_subparsers(dest="direction", required=True)
    out = directions.add_parser("to-megatron", help="write a shard set as PREFIX.bin and PREFIX.idx")
    out.add_argument("shards", type=Path, help="a shard folder, for example runs/data/tiny/shards/code/train")
    out.add_argument("prefix", type=_prefix, help="the pair to write, without .bin and .idx")
    out.add_argument("--append-eod", action="store_true", help="end every document with EOS, as Megatron's tool does")
    back = directions.add_parser("from-megatron", help="write PREFIX.bin and PREFIX.idx as a shard set")
    back.add_argument("prefix", type=_prefix, help="the pair to read, without .bin and .idx")
    back.add_argument("shards", type=Path, help="the shard folder to write")
    for each in (out, back):
        each.add_argument("--tokenizer", type=Path, required=True, help="tokenizer of the tokens, for example "
                          "runs/data/tiny/tokenizer")  # fmt: skip
    return parser


def _prefix(text: str) -> Path:
    """Take a pair by its prefix, or by the name of either file."""
    return Path(text.removesuffix(".idx").removesuffix(".bin"))


if __name__ == "__main__":
    run_program(main)
