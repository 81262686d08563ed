"""What the backward passes of a step are watched for, on plain torch."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from codellama_train.loss import LossHead, TrainingModel
from codellama_train.not_finite import watched_gradients


@pytest.fixture
def model():
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    causal = LlamaForCausalLM(LlamaConfig(vocab_size=50, tie_word_embeddings=False, **shape))
    causal.lm_head = LossHead(causal.lm_head)
    return TrainingModel(causal)


def run_micro_steps(model, scales):
    ids = torch.randint(50, (2, 8))
    for scale in scales:
        loss, _ = model(ids, ids)
        assert loss.isfinite()
        (loss * scale).backward()


@pytest.mark.parametrize("is_frozen", [False, True])
def test_finite_gradients_leave_no_mark_and_no_hook(is_frozen, model):
    model.causal.get_input_embeddings().requires_grad_(not is_frozen)
    with watched_gradients(model) as watched:
        run_micro_steps(model, [1.0, 1.0])
    assert watched.finite_weights == [True, True]
    assert torch.cat(watched.of_embedding).equal(torch.zeros(4, 8))
    run_micro_steps(model, [1.0])
    assert len(watched.of_embedding) == 2


@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_gradient_that_reaches_the_embedding_marks_its_tokens(is_frozen, model):
    model.causal.get_input_embeddings().requires_grad_(not is_frozen)
    with watched_gradients(model) as watched:
        run_micro_steps(model, [1.0, torch.inf])
    assert watched.of_embedding[0].isfinite().all()
    assert watched.of_embedding[1].isnan().all()
    assert watched.finite_weights == [True, False]


def test_a_gradient_that_overflows_in_a_weight_alone_tells_its_micro_step(model):
    with torch.no_grad():  # hidden states of 1e30 before the head, and rows of 1e-30 there
        model.causal.model.norm.weight.mul_(1e30)
        model.causal.lm_head.weight.mul_(1e-30)
    with watched_gradients(model) as watched:
        run_micro_steps(model, [1.0, 1e10, 1.0])
    assert torch.cat(watched.of_embedding).isfinite().all()
    assert watched.finite_weights == [True, False, True]
