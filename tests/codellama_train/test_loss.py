"""The chunked loss against torch's own, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from codellama_train.loss import CHUNK_TOKENS, LossHead
from codellama_train.tokens.rows import IGNORED


def reference(hidden, weight, labels):
    logits = functional.linear(hidden, weight).float()
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")


def make_case(tokens, *, ignored_fraction, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(2, tokens, 16, generator=generator, requires_grad=True)
    linear = nn.Linear(16, 50, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(50, 16, generator=generator))
    labels = torch.randint(50, (2, tokens), generator=generator)
    labels[torch.rand(2, tokens, generator=generator) < ignored_fraction] = IGNORED
    return hidden, linear, labels


@pytest.mark.parametrize("tokens", [1, 7, CHUNK_TOKENS // 2, CHUNK_TOKENS + 3])
@pytest.mark.parametrize("ignored_fraction", [0.0, 0.4])
def test_loss_and_gradients_equal_the_unchunked_ones(tokens, ignored_fraction):
    hidden, linear, labels = make_case(tokens, ignored_fraction=ignored_fraction)
    losses = LossHead(linear)(hidden, labels)
    (losses.sum() * 0.7).backward()
    gradients = hidden.grad.clone(), linear.weight.grad.clone()
    hidden.grad = linear.weight.grad = None
    expected = reference(hidden, linear.weight, labels)
    (expected * 0.7).backward()
    torch.testing.assert_close(losses.sum(), expected)
    torch.testing.assert_close(gradients, (hidden.grad, linear.weight.grad))
    assert (losses[labels == IGNORED] == 0).all()


def test_rows_without_predicted_tokens_give_zero_gradients():
    hidden, linear, labels = make_case(5, ignored_fraction=1.1)
    LossHead(linear)(hidden, labels).sum().backward()
    assert not hidden.grad.any()
    assert not linear.weight.grad.any()


def test_a_frozen_head_gets_no_gradient():
    hidden, linear, labels = make_case(5, ignored_fraction=0.0)
    linear.weight.requires_grad_(requires_grad=False)
    LossHead(linear)(hidden, labels).sum().backward()
    assert linear.weight.grad is None
    assert hidden.grad.any()


def test_without_labels_the_head_gives_logits():
    hidden, linear, _ = make_case(5, ignored_fraction=0.0)
    torch.testing.assert_close(LossHead(linear)(hidden), linear(hidden))


def test_bfloat16_gradient_is_as_near_to_float32_as_the_unchunked_one():
    hidden, linear, labels = make_case(300, ignored_fraction=0.0)
    exact = torch.autograd.grad(reference(hidden, linear.weight, labels), linear.weight)[0]
    low_hidden, low_linear = hidden.detach().bfloat16(), linear.bfloat16()
    LossHead(low_linear)(low_hidden, labels).sum().backward()
    ours = (low_linear.weight.grad.float() - exact).norm() / exact.norm()
    unchunked = torch.autograd.grad(reference(low_hidden, low_linear.weight, labels), low_linear.weight)[0]
    theirs = (unchunked.float() - exact).norm() / exact.norm()
    assert ours <= 1.5 * theirs
