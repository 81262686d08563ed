"""Next-token loss whose logits never exist as a whole.

A vocabulary of 32,016 and a sequence of 16,384 give 2 GB of float32 logits. Here they are made in chunks, each turned
at once into its loss and its gradient, so that memory holds one chunk and backward only scales what forward kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from codellama_train.sequence_slices import WHOLE_SEQUENCES, SequenceShare
from codellama_train.tokens.rows import IGNORED

# Tokens whose logits exist at once, and those of them that are worked on in float32: on a processor these fit into its
# cache, and more would wait for main memory; a GPU is kept busy, and adds up the weight's gradient less often.
CHUNK_TOKENS, BLOCK_TOKENS = 256, 16
GPU_CHUNK_TOKENS, GPU_BLOCK_TOKENS = 4096, 1024


class ChunkedCrossEntropy(torch.autograd.Function):
    """Linear layer and cross-entropy in one, with the gradient computed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, rows: Tensor | None, row_ids: Tensor | None
    ) -> Tensor:
        """Give the loss in nats of each token.

        hidden: (tokens, hidden size); weight: (vocabulary, hidden size); labels: (tokens,), all predicted;
        rows: (ids, hidden size), which stand for the weight's rows of row_ids: (ids,), None for none.
        Backward accepts one common factor for all tokens, as a sum or a mean over them has.
        """
        losses = torch.empty(len(labels), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        rows_gradient = None if rows is None else torch.zeros_like(rows, dtype=torch.float32)
        chunk_tokens = GPU_CHUNK_TOKENS if hidden.is_cuda else CHUNK_TOKENS
        for start in range(0, len(labels), chunk_tokens):
            chunk = slice(start, start + chunk_tokens)
            gradient = whole_logits(hidden[chunk], weight, rows, row_ids)
            losses[chunk] = losses_and_gradient(gradient, labels[chunk])
            if rows is not None and rows_gradient is not None:
                of_rows = gradient[:, row_ids]
                gradient[:, row_ids] = 0
                rows_gradient += of_rows.T @ hidden[chunk]
                hidden_gradient[chunk] = torch.addmm(of_rows @ rows, gradient, weight)
            else:
                hidden_gradient[chunk] = gradient @ weight
            if weight_gradient is not None:
                weight_gradient += gradient.T @ hidden[chunk]
            del gradient  # or it would stay until the next chunk's logits are there
        ctx.save_for_backward(hidden_gradient, weight_gradient, rows_gradient)
        ctx.weight_dtype = weight.dtype
        return losses

    @staticmethod
    def backward(ctx: Any, *factors: Tensor) -> tuple[Tensor, Tensor | None, None, Tensor | None, None]:
        """Scale the kept gradients, where they are, by the factor that every token's loss arrives with."""
        hidden_gradient, *others = ctx.saved_tensors
        factor = factors[0][0] if len(factors[0]) else factors[0].new_ones(())
        weight, rows = (None if each is None else each.mul_(factor).to(ctx.weight_dtype) for each in others)
        return hidden_gradient.mul_(factor.to(hidden_gradient.dtype)), weight, None, rows, None


def losses_and_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """Give each token's loss, and replace its logits by their gradient: softmax minus one at the label.

    One exponential serves both. logits: (tokens, vocabulary); labels: (tokens,).
    """
    losses = torch.empty(len(labels), dtype=torch.float32, device=logits.device)
    block_tokens = GPU_BLOCK_TOKENS if logits.is_cuda else BLOCK_TOKENS
    parts = (torch.split(each, block_tokens) for each in (logits, labels[:, None], losses[:, None]))
    for block, targets, block_losses in zip(*parts, strict=True):
        work = block.float()
        work -= work.amax(dim=-1, keepdim=True)
        target_logits = work.gather(-1, targets)
        sums = work.exp_().sum(dim=-1, keepdim=True)
        torch.sub(sums.log(), target_logits, out=block_losses)
        work *= sums.reciprocal()
        block.copy_(work.scatter_add_(-1, targets, work.new_full(targets.shape, -1.0)))
    return losses


def whole_logits(hidden: Tensor, weight: Tensor, rows: Tensor | None, row_ids: Tensor | None) -> Tensor:
    """Give logits, where `rows` stand for the weight's rows of `row_ids`."""
    logits = functional.linear(hidden, weight)
    if rows is None or row_ids is None:
        return logits
    return logits.index_copy(-1, row_ids, functional.linear(hidden, rows))


class LossHead(nn.Module):
    """The output layer: logits as usual, or, given labels, the loss without whole logits.

    It owns its weight, so that under ZeRO-3 the weight is gathered exactly while it is needed.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight
        self.rows: nn.Parameter | None = None
        self.row_ids: Tensor | None
        self.register_buffer("row_ids", None, persistent=False)

    def train_rows(self, rows: nn.Parameter, row_ids: Tensor) -> None:
        """Let `rows` stand for the weight's rows of `row_ids` from now on."""
        self.rows, self.row_ids = rows, row_ids

    def forward(self, hidden: Tensor, labels: Tensor | None = None) -> Tensor:
        """Give logits (batch, sequence, vocabulary), or with labels (batch, sequence) each token's loss in nats.

        Tokens whose label is IGNORED have loss zero.
        """
        if labels is None:
            return whole_logits(hidden, self.weight, self.rows, self.row_ids)
        predicted = labels != IGNORED
        chunked: Any = ChunkedCrossEntropy.apply
        losses = chunked(hidden[predicted], self.weight, labels[predicted], self.rows, self.row_ids)
        return torch.zeros_like(labels, dtype=torch.float32).masked_scatter(predicted, losses)


class TrainingModel(nn.Module):
    """A causal language model that gives per-token losses: what the training loop calls."""

    def __init__(self, causal: nn.Module, share: SequenceShare = WHOLE_SEQUENCES) -> None:
        super().__init__()
        self.causal, self.share = causal, share

    def forward(self, input_ids: Tensor, labels: Tensor, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give the loss summed over predicted tokens, and each token's loss for the record.

        input_ids, labels: (batch, sequence); labels are already shifted. Without positions, rows are causal throughout:
        documents of one row see those before them, as in the paper. With positions (batch, sequence) that restart at
        every document, each document sees itself alone. Where processes share sequences, input_ids and labels are this
        one's slice, and positions those of the whole row.
        """
        causal: Any = self.causal
        base = causal.get_base_model() if hasattr(causal, "get_base_model") else causal
        mask = None if positions is None else document_mask(positions)
        position_ids = self.share.position_ids(input_ids, positions)
        output = base.model(input_ids=input_ids, attention_mask=mask, position_ids=position_ids, use_cache=False)
        hidden = output.last_hidden_state
        losses: Tensor = base.lm_head(hidden, labels)
        return losses.sum(), losses.detach()


def document_mask(positions: Tensor) -> Tensor:
    """Give which tokens may be looked at: those before, of the same document. Shape: (batch, 1, sequence, sequence)."""
    document = (positions == 0).cumsum(dim=-1)
    return (document[:, None, :, None] == document[:, None, None, :]).tril()
