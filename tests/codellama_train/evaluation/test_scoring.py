"""Scores against transformers' logits, one sequence at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from codellama_train.evaluation.scoring import nats_per_token, rope_theta
from codellama_train.model import assert_rope_theta


def test_batched_scores_equal_one_by_one(subject, score_alone):
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 400, size=length).tolist() for length in (2, 90, 7, 7, 300, 31, 64)]
    sequences.append(sequences[1])
    for tokens_per_batch in (1, 128, 10_000):
        scored = nats_per_token(subject.loaded, sequences, tokens_per_batch=tokens_per_batch)
        for ids, nats in zip(sequences, scored, strict=True):
            np.testing.assert_allclose(nats, score_alone(ids), rtol=1e-4, atol=1e-5)


def test_mean_is_transformers_own_loss(subject):
    ids = list(range(3, 60))
    with torch.inference_mode():
        expected = subject.loaded.model(torch.tensor([ids]), labels=torch.tensor([ids])).loss
    [nats] = nats_per_token(subject.loaded, [ids], tokens_per_batch=100)
    assert nats.mean() == pytest.approx(float(expected), rel=1e-5)


def test_raised_theta_is_that_of_a_model_configured_so_and_ends_with_the_block(subject, model_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig.from_pretrained(model_path)
    config.rope_parameters = {"rope_type": "default", "rope_theta": 1e6}
    other = LlamaForCausalLM.from_pretrained(model_path, config=config).eval()
    ids = torch.arange(3, 200)[None]
    before = subject.loaded.model(ids, use_cache=False).logits
    with torch.inference_mode(), rope_theta(subject.loaded, 1e6):
        raised = subject.loaded.model(ids, use_cache=False).logits
        torch.testing.assert_close(raised, other(ids, use_cache=False).logits, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(raised, before, rtol=1e-2, atol=1e-2)
    assert torch.equal(subject.loaded.model(ids, use_cache=False).logits, before)
    assert_rope_theta(subject.loaded.model, 1e4)
