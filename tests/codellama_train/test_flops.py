"""FLOPs per token by the formula, against counting each operation, and against a published utilisation."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from codellama_train.flops import ModelFlops, peak_flops, training_flops_per_token
from codellama_train.lora import add_adapters
from codellama_train.loss import LossHead, TrainingModel
from codellama_train.planning.devices import PEAK_FLOPS
from codellama_train.planning.shape import ModelShape, shape_of_config
from codellama_train.recipe.training import Lora
from codellama_train.trained_rows import train_rows

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


def shape(model) -> ModelShape:
    return shape_of_config(model.config.to_dict())


def count_operations(model) -> tuple[int, int]:
    """Give the FLOPs that forward and backward really take per token: of weights, and of attention."""
    ids = torch.randint(0, SHAPE["vocab_size"], (ROWS, LENGTH))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        TrainingModel(model)(ids, ids)[0].backward()
    operations = {str(name): flops for name, flops in counter.get_flop_counts()["Global"].items()}
    attention = operations.pop("aten.bmm")  # it multiplies batches of matrices
    assert set(operations) <= {"aten.mm", "aten.addmm"}
    return sum(operations.values()) // (ROWS * LENGTH), attention // (ROWS * LENGTH)


def test_the_formula_counts_each_operation_but_half_of_attention():
    model = llama()
    weights, attention = count_operations(model)
    assert attention == 2 * CAUSAL_HALF, "plain attention computes what the mask then hides"
    assert training_flops_per_token(shape(model), lora=None, sequence_length=LENGTH) == weights + CAUSAL_HALF


def test_frozen_weights_need_no_gradient_of_their_own():
    base = llama()
    lora = Lora(rank=8, alpha=8, target_modules=["q_proj", "down_proj"])
    model = add_adapters(base, lora, seed=0)
    weights, attention = count_operations(model)
    # The embedding is frozen, so nothing needs the gradient of the first layer's input, which the formula counts: that
    # of its query, key and value matrices and of its adapter, and in attention that of its keys and values.
    first_layer = 2 * (32 * 32 + 2 * 32 * 16 + 32 * 8)
    assert attention == 2 * CAUSAL_HALF - 2 * 2 * 32 * LENGTH
    counted = weights + first_layer + CAUSAL_HALF
    assert training_flops_per_token(shape(base), lora=lora, sequence_length=LENGTH) == counted


def test_rows_of_new_tokens_train_in_a_frozen_output_layer():
    base = llama()
    lora = Lora(rank=8, alpha=8, target_modules=["q_proj", "down_proj"])
    model = add_adapters(base, lora, seed=0)
    without = count_operations(model)[0]
    train_rows(base, [3, 4, 5])
    more = count_operations(model)[0] - without
    # They are in the output layer's product as well, of which their part is then replaced; and with a trained row in
    # the embedding, the first layer needs the gradient of its input after all.
    first_layer = 2 * (32 * 32 + 2 * 32 * 16 + 32 * 8)
    counts = [training_flops_per_token(shape(base), lora=lora, num_new_rows=n, sequence_length=LENGTH) for n in (0, 3)]
    assert counts[1] - counts[0] == more - first_layer == 6 * 3 * 32


def test_7b_agrees_with_a_published_utilisation():
    """llm-foundry's MPT-7B on H100: 8,611 tokens/s at 4,096 tokens is 40.4 %, with non-causal attention."""
    mpt = {"vocab_size": 50_368, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
    model = llama(
        "meta", **mpt, num_key_value_heads=32, intermediate_size=10_922
    )  # three matrices as wide as MPT's two
    per_token = training_flops_per_token(shape(model), lora=None, sequence_length=4096)
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
