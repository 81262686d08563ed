"""FLOPs per token by the formula, against counting each operation, and against a published utilisation."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from codellama_train.flops import PEAK_FLOPS, ModelFlops, peak_flops, training_flops_per_token
from codellama_train.loss import LossHead, TrainingModel

LENGTH, ROWS = 64, 2
CAUSAL_HALF = 6 * 3 * 32 * LENGTH
SHAPE = {
    "vocab_size": 176,
    "hidden_size": 32,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def llama(device="cpu", **shape) -> LlamaForCausalLM:
    with torch.device(device):
        model = LlamaForCausalLM(LlamaConfig(**(SHAPE | shape), attn_implementation="sdpa"))
    model.lm_head = LossHead(model.lm_head)
    return model


def count_operations(model) -> tuple[int, int]:
    """Give the FLOPs that forward and backward really take per token: of weights, and of attention."""
    ids = torch.randint(0, SHAPE["vocab_size"], (ROWS, LENGTH))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        TrainingModel(model)(ids, ids)[0].backward()
    operations = {str(name): flops for name, flops in counter.get_flop_counts()["Global"].items()}
    assert set(operations) == {"aten.mm", "aten.bmm"}  # attention multiplies batches of matrices
    return operations["aten.mm"] // (ROWS * LENGTH), operations["aten.bmm"] // (ROWS * LENGTH)


def test_the_formula_counts_each_operation_but_half_of_attention():
    model = llama()
    weights, attention = count_operations(model)
    assert attention == 2 * CAUSAL_HALF, "plain attention computes what the mask then hides"
    assert training_flops_per_token(model, model.config, sequence_length=LENGTH) == weights + CAUSAL_HALF


def test_frozen_weights_need_no_gradient_of_their_own():
    base = llama()
    model = get_peft_model(base, LoraConfig(r=8, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"))
    weights, attention = count_operations(model)
    # The embedding is frozen, so nothing needs the gradient of the first layer's input, which the formula counts: that
    # of its query, key and value matrices and of its adapter, and in attention that of its keys and values.
    first_layer = 2 * (32 * 32 + 2 * 32 * 16 + 32 * 8)
    assert attention == 2 * CAUSAL_HALF - 2 * 2 * 32 * LENGTH
    counted = weights + first_layer + CAUSAL_HALF
    assert training_flops_per_token(model, base.config, sequence_length=LENGTH) == counted


def test_7b_agrees_with_a_published_utilisation():
    """llm-foundry's MPT-7B on H100: 8,611 tokens/s at 4,096 tokens is 40.4 %, with non-causal attention."""
    mpt = {"vocab_size": 50_368, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
    model = llama(
        "meta", **mpt, num_key_value_heads=32, intermediate_size=10_922
    )  # three matrices as wide as MPT's two
    per_token = training_flops_per_token(model, model.config, sequence_length=4096)
    causal_half = 6 * 32 * 4096 * 4096
    published = ModelFlops(per_token + causal_half, "H100", PEAK_FLOPS["NVIDIA H100 80GB HBM3"])
    assert published.speed(8_611 * 8, num_devices=8)["mfu"] == pytest.approx(0.404, abs=0.003)
    ours = ModelFlops(per_token, "H100", PEAK_FLOPS["NVIDIA H100 80GB HBM3"])
    assert ours.speed(8_611 * 8, num_devices=8)["mfu"] == pytest.approx(0.376, abs=0.003)


def test_an_unknown_device_has_no_peak():
    assert peak_flops("cpu") is None
    assert ModelFlops(6, "cpu", None).speed(10.0, num_devices=2) == {
        "tokens_per_second_per_device": 5.0,
        "model_flops_per_second_per_device": 30.0,
        "mfu": None,
    }
