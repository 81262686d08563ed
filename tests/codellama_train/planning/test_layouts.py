"""Layouts: what is found against trying every number, the same recipe by its overrides, more devices never worse."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_inputs import ALL_LAYERS, LLAMA_7B, LLAMA_34B, recipe_of

from codellama_train.console import UserError
from codellama_train.planning.devices import parse_cluster
from codellama_train.planning.layouts import excess, layout_of, layouts, overview, with_most_sequences
from codellama_train.planning.shortage import any_fits, fewest_devices, fewest_nodes
from codellama_train.planning.variants import changed, overrides_of, variants, with_sequences
from codellama_train.recipe.loading import apply_override
from codellama_train.recipe.machine import Machine

LORA = {"rank": 16, "alpha": 32, "target_modules": ALL_LAYERS}


@pytest.mark.parametrize(("devices", "shape"), [("8xA100-80", LLAMA_7B), ("64xH100", LLAMA_34B), ("H200", LLAMA_7B)])
def test_the_most_sequences_are_those_that_trying_each_finds(devices, shape):
    recipe, cluster = recipe_of(rows=64), parse_cluster(devices)
    for variant in variants(recipe, shape, cluster):
        fitting = [
            number
            for number in (1, 2, 4, 8, 16, 32, 64)
            if number <= 64 * variant.machine.sequence_parallel // cluster.num_devices
            and not excess(with_sequences(variant, number), shape, cluster)
        ]
        found = with_most_sequences(variant, shape, cluster)
        assert (found.machine.sequences_per_device if found else None) == max(fitting, default=None)


def test_layouts_fit_and_the_recommended_is_as_fast_as_any():
    found = layouts(recipe_of(), LLAMA_7B, cluster := parse_cluster("64xA100-80"))
    assert all(layout.fits and not excess(layout.recipe, LLAMA_7B, cluster) for layout in found)
    speeds = [layout.time.tokens_per_second for layout in found]
    assert speeds[0] >= 0.98 * max(speeds)
    slower = [speed for speed in speeds if speed < 0.98 * max(speeds)]
    assert speeds[len(speeds) - len(slower) :] == sorted(slower, reverse=True)
    assert found[0].days == pytest.approx(1_000 * found[0].time.seconds / 86_400)


def test_overrides_make_the_recipe_run_in_the_layout():
    written = recipe_of(
        rows=8,
        zero_stage=3,
        offload={"optimizer": "nvme", "parameters": "cpu", "nvme_path": "/a b"},
        mlp_tile_tokens=512,
    )
    for variant in variants(written, LLAMA_7B, parse_cluster("8xH200")):
        table = {"machine": written.machine.model_dump(mode="json", exclude_none=True)}
        for override in overrides_of(written.machine, variant.machine):
            apply_override(table, override)
        assert Machine.model_validate(table["machine"]) == variant.machine
    assert overrides_of(written.machine, written.machine) == []


def test_what_the_recipes_rules_refuse_is_no_layout():
    quantized = recipe_of(rows=8, lora=LORA | {"quantization": "nf4"})
    assert {each.machine.zero_stage for each in variants(quantized, LLAMA_7B, parse_cluster("A100-40"))} == {1, 2}
    assert changed(recipe_of(), {"offload": {"parameters": "cpu"}}) is None  # at stage 2
    compiled = list(variants(recipe_of(compile=True), LLAMA_7B, parse_cluster("8xH100")))
    assert {(each.machine.zero_stage, each.machine.compile) for each in compiled} >= {(1, True), (3, False)}


def test_sequences_are_shared_within_a_node_by_divisors_of_the_heads():
    def slices(devices, **recipe):
        each = variants(recipe_of(**recipe), LLAMA_7B, parse_cluster(devices))
        return sorted({variant.machine.sequence_parallel for variant in each})

    assert slices("64xA100-80") == [1, 2, 4, 8]
    assert slices("3xA100-80") == [1]  # 32 heads
    assert slices("12xA100-80") == [1, 2, 4]
    assert slices("4xGH200") == [1]  # one in a node
    assert slices("8xH200", length=4098, rows=64) == [1, 2]


def test_the_overview_has_a_row_of_each_kind_also_of_those_that_do_not_fit():
    recipe, cluster = recipe_of(), parse_cluster("8xH200")
    rows = overview(layouts(recipe, LLAMA_34B, cluster), recipe, LLAMA_34B, cluster)
    assert len(rows) == (2 + 2 + 3) * 4
    assert {layout.fits for layout in rows} == {True, False}
    assert all(layout.machine.sequences_per_device == 1 for layout in rows if not layout.fits)


def test_too_few_devices_are_told_how_many_would_do():
    recipe, cluster = recipe_of(), parse_cluster("8x4090")
    assert layouts(recipe, LLAMA_34B, cluster) == []
    enough = fewest_devices(recipe, LLAMA_34B, cluster)
    assert enough is not None
    assert enough > 8
    assert any_fits(recipe, LLAMA_34B, cluster.of(enough))
    smaller = [number for number in range(1, enough) if number < 8 or number % 8 == 0]
    assert not any(any_fits(recipe, LLAMA_34B, cluster.of(number)) for number in smaller)


def test_a_layout_knows_how_many_nodes_may_fail():
    layout = layouts(recipe_of(), LLAMA_34B, parse_cluster("64xA100-80"))[0]
    fewest = fewest_nodes(layout, LLAMA_34B)
    assert 1 < fewest < 8
    devices = [parse_cluster(f"{8 * number}xA100-80") for number in (fewest - 1, fewest)]
    assert [layout_of(layout.recipe, layout.written, LLAMA_34B, each).fits for each in devices] == [False, True]


def test_devices_that_no_layout_can_use_are_refused_by_the_recipes_rule():
    with pytest.raises(UserError, match="would be padding"):
        layouts(recipe_of(rows=8), LLAMA_7B, parse_cluster("7xA100-80"))


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(["A100-40", "A100-80", "H100-80", "H200", "4090"]),
    power=st.integers(0, 5),
    zero_stage=st.integers(1, 3),
    recomputed=st.booleans(),
    adapted=st.booleans(),
    offload=st.sampled_from([None, {"optimizer": "cpu"}]),
)
def test_more_devices_need_no_more_memory_each_and_are_faster(kind, power, zero_stage, recomputed, adapted, offload):
    recipe = recipe_of(
        rows=1024,
        lora=LORA if adapted else None,
        zero_stage=zero_stage,
        activation_checkpointing=recomputed,
        offload=offload,
    )
    few, many = (
        layout_of(recipe, recipe.machine, LLAMA_7B, parse_cluster(f"{number}x{kind}"))
        for number in (1 << power, 2 << power)
    )
    if power or zero_stage == 1:  # one device alone needs no buffers to exchange with others
        assert many.memory.total <= few.memory.total * 1.01
    assert many.time.seconds < few.time.seconds or kind == "4090"  # whose exchange may take longer than its work


@settings(max_examples=20, deadline=None)
@given(power=st.integers(0, 6), length=st.sampled_from([2048, 4096, 16_384]))
def test_a_larger_cluster_has_a_layout_wherever_a_smaller_one_has(power, length):
    recipe = recipe_of(rows=128, length=length)
    few, many = (layouts(recipe, LLAMA_7B, parse_cluster(f"{number}xA100-80")) for number in (1 << power, 2 << power))
    assert many or not few
    if few:
        assert many[0].time.tokens_per_second > few[0].time.tokens_per_second
