"""Next-token loss whose logits never exist as a whole.

A vocabulary of 32,016 and a sequence of 16,384 give 2 GB of float32 logits. Here they are made in chunks, each turned
at once into its loss and its gradient, so that memory holds one chunk and backward only scales what forward kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from codellama_train.tokens.rows import IGNORED

CHUNK_TOKENS = 1024


class ChunkedCrossEntropy(torch.autograd.Function):
    """Linear layer and cross-entropy in one, with the gradient computed in the forward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        """Give the loss in nats of each token.

        hidden: (tokens, hidden size); weight: (vocabulary, hidden size); labels: (tokens,), all predicted.
        Backward accepts one common factor for all tokens, as a sum or a mean over them has.
        """
        losses = torch.empty(len(labels), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        for start in range(0, len(labels), CHUNK_TOKENS):
            chunk = slice(start, start + CHUNK_TOKENS)
            logits = functional.linear(hidden[chunk], weight).float()
            logits -= logits.amax(dim=-1, keepdim=True)
            rows = torch.arange(len(logits), device=logits.device)
            target = logits[rows, labels[chunk]]
            # One exponential serves both the loss and the gradient, which is softmax minus one at the label.
            exponentials = logits.exp_()
            sums = exponentials.sum(dim=-1)
            losses[chunk] = sums.log() - target
            gradient = exponentials.div_(sums[:, None])
            gradient[rows, labels[chunk]] -= 1
            gradient = gradient.to(weight.dtype)
            hidden_gradient[chunk] = gradient @ weight
            if weight_gradient is not None:
                weight_gradient += gradient.T @ hidden[chunk]
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        ctx.weight_dtype = weight.dtype
        return losses

    @staticmethod
    def backward(ctx: Any, *factors: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """Scale the kept gradients by the factor that every token's loss arrives with."""
        hidden_gradient, weight_gradient = ctx.saved_tensors
        factor = factors[0][0] if len(factors[0]) else factors[0].new_ones(())
        scaled_weight = None if weight_gradient is None else (weight_gradient * factor).to(ctx.weight_dtype)
        return hidden_gradient * factor.to(hidden_gradient.dtype), scaled_weight, None


class LossHead(nn.Module):
    """The output layer: logits as usual, or, given labels, the loss without whole logits.

    It owns its weight, so that under ZeRO-3 the weight is gathered exactly while it is needed.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight

    def forward(self, hidden: Tensor, labels: Tensor | None = None) -> Tensor:
        """Give logits (batch, sequence, vocabulary), or with labels (batch, sequence) each token's loss in nats.

        Tokens whose label is IGNORED have loss zero.
        """
        if labels is None:
            return functional.linear(hidden, self.weight)
        predicted = labels != IGNORED
        chunked: Any = ChunkedCrossEntropy.apply
        losses = chunked(hidden[predicted], self.weight, labels[predicted])
        return torch.zeros_like(labels, dtype=torch.float32).masked_scatter(predicted, losses)


class TrainingModel(nn.Module):
    """A causal language model that gives per-token losses: what the training loop calls."""

    def __init__(self, causal: nn.Module) -> None:
        super().__init__()
        self.causal = causal

    def forward(self, input_ids: Tensor, labels: Tensor, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give the loss summed over predicted tokens, and each token's loss for the record.

        input_ids, labels: (batch, sequence); labels are already shifted. Without positions, rows are causal throughout:
        documents of one row see those before them, as in the paper. With positions (batch, sequence) that restart at
        every document, each document sees itself alone.
        """
        causal: Any = self.causal
        base = causal.get_base_model() if hasattr(causal, "get_base_model") else causal
        mask = None if positions is None else document_mask(positions)
        output = base.model(input_ids=input_ids, attention_mask=mask, position_ids=positions, use_cache=False)
        hidden = output.last_hidden_state
        losses: Tensor = base.lm_head(hidden, labels)
        return losses.sum(), losses.detach()


def document_mask(positions: Tensor) -> Tensor:
    """Give which tokens may be looked at: those before, of the same document. Shape: (batch, 1, sequence, sequence)."""
    document = (positions == 0).cumsum(dim=-1)
    return (document[:, None, :, None] == document[:, None, None, :]).tril()
