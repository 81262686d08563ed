"""A step's seconds, part by part, against formulas by hand and against what people measured."""

from __future__ import annotations

import pytest
from plan_inputs import ALL_LAYERS, LLAMA_7B, recipe_of

from codellama_train.console import UserError
from codellama_train.planning import assumptions
from codellama_train.planning.devices import parse_cluster
from codellama_train.planning.speed import time_of

# Weights of Llama 2 7B that multiply in each layer, and the output layer's.
LAYERS, HEAD = 32 * (4 * 4096**2 + 3 * 4096 * 11_008), 32_016 * 4096
WEIGHTS = LAYERS + 2 * HEAD + 65 * 4096
PEAK, MATRICES, ATTENTION = 312e12, 0.60 * 0.85, 0.55


def parts(recipe, devices):
    return time_of(recipe, LLAMA_7B, parse_cluster(devices)).parts


def test_arithmetic_is_six_flops_a_weight_and_causal_attention():
    got = parts(recipe_of(), "64xA100-80")
    tokens = 16 * 4096  # of a device: 1,024 sequences on 64
    forward_attention = 32 * 4096 * 4096 * 2  # half of 4 x width x length
    assert got["arithmetic"] == pytest.approx(
        tokens * (6 * (LAYERS + HEAD) / MATRICES + 3 * forward_attention / ATTENTION) / PEAK
    )
    assert got["recomputation"] == pytest.approx(
        tokens * (2 * LAYERS / MATRICES + forward_attention / ATTENTION) / PEAK
    )


def test_frozen_weights_need_no_gradient_of_their_own():
    lora = {"rank": 16, "alpha": 32, "target_modules": ALL_LAYERS}
    adapters = 32 * 16 * (8 * 4096 + 3 * (4096 + 11_008))
    got = time_of(recipe_of(rows=8, lora=lora), LLAMA_7B, parse_cluster("A100-80"))
    attention = 6 * 32 * 4096 * 4096
    assert got.flops_per_token == 4 * (LAYERS + HEAD) + 6 * adapters + attention
    assert got.parts["exchange of weights and gradients"] == 0
    assert got.mfu == pytest.approx(got.tokens_per_second * got.flops_per_token / PEAK)


@pytest.mark.parametrize(
    ("stage", "bytes_sent"),
    [
        (1, 2 * WEIGHTS * (2 + 1)),  # gradients summed, which is twice their bytes; updated weights handed out
        (2, 2 * WEIGHTS * (2 * 16 + 1)),  # the same in each of 16 micro-steps
        (3, 2 * WEIGHTS * 16 * 3 * 0.2),  # weights collected twice as well; four fifths hidden
    ],
)
def test_zero_stages_exchange_weights_and_gradients(stage, bytes_sent):
    got = parts(recipe_of(zero_stage=stage), "64xA100-80")
    network = 8 * 25e9 * 0.8  # of a node, below its links
    assert got["exchange of weights and gradients"] == pytest.approx(bytes_sent * 63 / 64 / network)


def test_what_arithmetic_cannot_hide_is_waited_for():
    few, many = (parts(recipe_of(rows=8, length=length, zero_stage=3), "8x4090") for length in (256, 4096))
    exchanged = 3 * 2 * WEIGHTS * 7 / 8 / (31.5e9 / 2 * 0.8)
    hidden = few["arithmetic"] + few["recomputation"]
    assert few["exchange of weights and gradients"] == pytest.approx(exchanged - hidden)
    assert many["exchange of weights and gradients"] == pytest.approx(0.2 * exchanged)


def test_devices_that_share_sequences_exchange_queries_keys_values_and_results():
    got = parts(recipe_of(zero_stage=3, sequence_parallel=4), "8xH100")
    tokens = 512 * 4096 / 4  # two groups of four
    sent = tokens * 2 * 4 * 4096 * 32 * 3 * 3 / 4  # bfloat16, four tensors, layers, three passes, to three of four
    assert got["exchange of sequences"] == pytest.approx(sent / (450e9 * 0.8))
    assert parts(recipe_of(zero_stage=3), "8xH100")["exchange of sequences"] == 0


def test_an_offloaded_optimizer_updates_at_the_hosts_speed():
    here = parts(recipe_of(rows=8), "A100-80")["update"]
    there = parts(recipe_of(rows=8, offload={"optimizer": "cpu"}), "A100-80")["update"]
    drive = parts(recipe_of(rows=8, zero_stage=3, offload={"optimizer": "nvme", "nvme_path": "/nvme"}), "A100-80")[
        "update"
    ]
    assert here == pytest.approx(38 * WEIGHTS / (2_039e9 * 0.8))
    assert there == pytest.approx(WEIGHTS * (28 / (410e9 / 8 * 0.45) + (2 + 8 * 8) / (31.5e9 * 0.8)))
    assert drive == pytest.approx(there + 24 * WEIGHTS / (5e9 / 8))


def test_padded_rows_and_tiles_cost_time():
    whole, padded = (time_of(recipe_of(rows=rows), LLAMA_7B, parse_cluster("8xH100")) for rows in (64, 60))
    assert whole.parts["arithmetic"] == padded.parts["arithmetic"]
    assert padded.tokens_per_second < whole.tokens_per_second
    tiled = parts(recipe_of(rows=64, mlp_tile_tokens=1024), "8xH100")
    extra = 8 * 4096 * 2 * 32 * 3 * 4096 * 11_008 / (989.5e12 * 0.50 * 0.85)
    assert tiled["recomputation"] == pytest.approx(whole.parts["recomputation"] + extra)
    assert parts(recipe_of(rows=64, mlp_tile_tokens=4096), "8xH100") == whole.parts  # one tile is none


def test_small_models_wait_for_their_kernels():
    small = time_of(recipe_of(rows=8, length=64), LLAMA_7B, parse_cluster("H200"))
    assert small.parts["waiting for kernels to start"] > 0
    assert small.seconds >= 8 * 32 * assumptions.LAYER_SECONDS.value


def test_devices_that_cannot_share_evenly_are_refused():
    with pytest.raises(UserError, match=r"machine\.sequence_parallel=2 does not divide"):
        time_of(recipe_of(sequence_parallel=2), LLAMA_7B, parse_cluster("3xA100-80"))
    with pytest.raises(UserError, match="would be padding"):
        time_of(recipe_of(rows=8), LLAMA_7B, parse_cluster("7xA100-80"))
