"""The feed-forward part of each layer over a few tokens at a time, so that its wide activations are few as well.

Without tiles, backward through a layer holds four activations of intermediate size for every token of a sequence, also
where activations are recomputed layer by layer. With tiles they are recomputed tile by tile, at the price of running
that part forward once more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def run_in_tiles(model: Any, *, tile_tokens: int) -> None:
    """Let the feed-forward part of a Llama's layers see so many tokens at a time; names of weights stay."""
    for layer in model.model.layers:
        layer.mlp.forward = partial(in_tiles, layer.mlp.forward, tile_tokens)


def in_tiles(forward: Callable[[Tensor], Tensor], tile_tokens: int, hidden: Tensor) -> Tensor:
    """Apply what treats each token alone to tiles, recomputed in backward. Shape: (batch, sequence, hidden size)."""
    tiles = torch.split(hidden.flatten(0, 1), tile_tokens)
    if len(tiles) == 1:
        return forward(hidden)
    # There is no dropout, so no random state to keep.
    outputs: list[Any] = [checkpoint(forward, tile, use_reentrant=False, preserve_rng_state=False) for tile in tiles]
    return torch.cat(outputs).view_as(hidden)
