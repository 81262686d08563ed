"""Rows of the embedding and of the output layer that train while the rest of both stays: those of tokens new to a base.

Adapters alone cannot learn a new token: its rows start as a mean, and what comes in through them and goes out by them
is no adapter's. The rows are parameters of their own, a few thousand numbers each, so that the optimizer, the gradients
and ZeRO's communication are theirs alone; with tied embeddings, one parameter serves both layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import deepspeed
import torch
from torch import Tensor, nn
from torch.nn import functional

from codellama_train.loss import LossHead


class EmbeddingWithRows(nn.Module):
    """An embedding whose rows of some ids are trained apart from it."""

    row_ids: Tensor

    def __init__(self, base: nn.Embedding, rows: nn.Parameter, row_ids: Tensor) -> None:
        super().__init__()
        self.base, self.rows = base, rows
        self.register_buffer("row_ids", row_ids, persistent=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Look tokens up. Shape: (batch, sequence) to (batch, sequence, hidden size)."""
        matches = input_ids[..., None] == self.row_ids
        row = functional.embedding(matches.int().argmax(dim=-1), self.rows)
        return torch.where(matches.any(dim=-1, keepdim=True), row, self.base(input_ids))


def train_rows(model: Any, ids: Sequence[int]) -> None:
    """Let the rows of `ids` train in both layers of a Llama whose head is a LossHead."""
    embedding, head = model.get_input_embeddings(), model.lm_head
    assert isinstance(head, LossHead), type(head)
    row_ids = torch.tensor(ids, device=embedding.weight.device)
    is_tied = head.weight is embedding.weight
    rows = nn.Parameter(chosen_rows(embedding.weight, row_ids))
    head.train_rows(rows if is_tied else nn.Parameter(chosen_rows(head.weight, row_ids)), row_ids)
    model.set_input_embeddings(EmbeddingWithRows(embedding, rows, row_ids))


def chosen_rows(weight: Any, row_ids: Tensor) -> Tensor:
    """Copy rows of a weight, which may be cut up over processes."""
    with deepspeed.zero.GatheredParameters([weight], enabled=hasattr(weight, "ds_id")):
        chosen: Tensor = weight.detach()[row_ids].clone()
        return chosen


def trained_rows(model: Any) -> dict[str, Tensor]:
    """Give the trained rows by the name of their layer, of tied layers once; empty where no rows train."""
    embedding, head = model.get_input_embeddings(), model.lm_head
    if not isinstance(embedding, EmbeddingWithRows):
        return {}
    found = {"embed_tokens": embedding.rows} | ({} if head.rows is embedding.rows else {"lm_head": head.rows})
    return {name: rows.detach() for name, rows in found.items()}


@torch.no_grad()
def fold_rows(model: Any) -> None:
    """Write the trained rows into the weights that they stood for, and put the plain layers back."""
    embedding, head = model.get_input_embeddings(), model.lm_head
    if not isinstance(embedding, EmbeddingWithRows):
        return
    embedding.base.weight[embedding.row_ids] = embedding.rows
    head.weight[embedding.row_ids] = head.rows
    model.set_input_embeddings(embedding.base)
    head.rows = head.row_ids = None
