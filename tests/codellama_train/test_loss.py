"""The chunked loss against torch's own, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from codellama_train.loss import (
    CHUNK_TOKENS,
    GPU_BLOCK_TOKENS,
    GPU_CHUNK_TOKENS,
    LossHead,
    TrainingModel,
    document_mask,
)
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


@pytest.mark.parametrize("checkpointing", [False, True])
def test_masked_documents_are_as_if_each_were_alone(checkpointing):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_implementation="sdpa",
    )
    causal = LlamaForCausalLM(config).train()
    if checkpointing:
        causal.gradient_checkpointing_enable({"use_reentrant": False})
    lengths = [[5, 1, 10], [16]]
    input_ids, labels = torch.randint(50, (2, 16)), torch.randint(50, (2, 16))
    labels[0, [4, 5]] = IGNORED
    positions = torch.stack([torch.cat([torch.arange(length) for length in row]) for row in lengths])
    causal.lm_head = LossHead(causal.lm_head)
    model = TrainingModel(causal)
    together, losses = model(input_ids, labels, positions)
    together.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    alone = []
    for row, parts in enumerate(lengths):
        starts = [sum(parts[:index]) for index in range(len(parts))]
        for start, length in zip(starts, parts, strict=True):
            span = (slice(row, row + 1), slice(start, start + length))
            loss, part = model(input_ids[span], labels[span])
            loss.backward()
            alone.append(part[0])
    torch.testing.assert_close(losses.flatten(), torch.cat(alone))
    for parameter, expected in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(model(input_ids, labels)[1][1], losses[1], msg="one document is the unmasked row")
    assert (model(input_ids, labels)[1][0, 6:] - losses[0, 6:]).abs().max() > 1e-3, "unmasked documents see each other"


def test_the_mask_lets_no_document_see_another():
    mask = document_mask(torch.tensor([[0, 1, 0, 0, 1]]))[0, 0]
    expected = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]]
    assert mask.int().tolist() == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("tokens", [7, GPU_BLOCK_TOKENS + 5, GPU_CHUNK_TOKENS + 3])
def test_on_a_gpu_bfloat16_losses_and_gradients_are_as_near_to_float32_as_the_unchunked_ones(tokens):
    hidden, linear, labels = make_case(tokens, ignored_fraction=0.3)
    exact = torch.autograd.grad(reference(hidden, linear.weight, labels), [hidden, linear.weight])
    hidden, linear, labels = hidden.detach().cuda().bfloat16().requires_grad_(), linear.cuda().bfloat16(), labels.cuda()
    losses = LossHead(linear)(hidden, labels)
    whole = reference(hidden, linear.weight, labels)
    torch.testing.assert_close(losses.sum(), whole, rtol=1e-4, atol=1e-3)
    ours = torch.autograd.grad(losses.sum(), [hidden, linear.weight])
    theirs = torch.autograd.grad(whole, [hidden, linear.weight])
    for our, their, right in zip(ours, theirs, exact, strict=True):
        distances = [float((gradient.cpu().float() - right).norm() / right.norm()) for gradient in (our, their)]
        assert distances[0] <= 1.5 * distances[1]
