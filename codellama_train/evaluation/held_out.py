"""The held-out documents of a data folder, and which of them are measured on: the same for every model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.tokens.shards import ShardSet
from codellama_train.tokens.tokenizer import Tokenizer


class HeldOut:
    """Held-out shards by source; refuses those that another tokenizer wrote."""

    def __init__(self, data: Path, tokenizer: Tokenizer) -> None:
        self.data, self._tokenizer = data, tokenizer
        self._opened: dict[str, ShardSet] = {}

    def shards(self, source: str) -> ShardSet:
        """Open the held-out documents of a source."""
        if source not in self._opened:
            opened = ShardSet(held_out_folder(self.data, source))
            opened.require_tokenizer(self._tokenizer.fingerprint, self._tokenizer.vocabulary_size)
            self._opened[source] = opened
        return self._opened[source]

    def text(self, source: str, document: int) -> str:
        """Decode a whole document."""
        return self._tokenizer.decode(self.shards(source).ids(document).tolist())


def held_out_folder(data: Path, source: str) -> Path:
    """Say where a source's held-out shards are; refuses a source that the data does not have."""
    folder = data / "shards" / source / "held_out"
    if not folder.is_dir():
        present = sorted(path.parent.name for path in data.glob("shards/*/held_out"))
        raise UserError(
            f"source {source!r} has no held-out shards at {folder}; "
            + (f"there are {', '.join(present)}" if present else "scripts/prepare_data.py writes them")
        )
    return folder


def shards_fingerprint(data: Path, source: str) -> str:
    """Name a source's held-out shards by their manifest."""
    folder = held_out_folder(data, source)
    if not (folder / artifacts.MANIFEST).is_file():
        raise UserError(f"the held-out shards at {folder} were never finished; run scripts/prepare_data.py again")
    return artifacts.manifest_fingerprint(folder)


def choose(candidates: list[int], *, count: int, seed: int) -> list[int]:
    """Draw `count` of the candidates, or all where there are fewer, in the order they will be read."""
    drawn = np.random.default_rng(seed).permutation(len(candidates))[:count]
    return sorted(candidates[index] for index in drawn)
