"""What a stage costs, by hand, and the hours of the paper's models beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plan_inputs import LLAMA_7B, LLAMA_34B, recipe_of

from codellama_train.planning.cost import cost_of, llama_2_hours
from codellama_train.planning.devices import parse_cluster
from codellama_train.planning.layouts import layout_of


def test_cost_is_device_hours_times_price_power_and_carbon():
    recipe = recipe_of()
    layout = layout_of(recipe, recipe.machine, LLAMA_7B, parse_cluster("64xA100-80"))
    cost = cost_of(layout, dollars_per_hour=2.5)
    hours = 1_000 * layout.time.seconds / 3_600 * 64
    assert cost.device_hours == pytest.approx(hours)
    assert cost.dollars == pytest.approx(2.5 * hours)
    assert cost.kilowatt_hours == pytest.approx(0.4 * 1.1 * hours)
    assert cost.carbon_kg == pytest.approx(hours * 228.55e3 / 1_400_000, rel=1e-3)  # the paper's tonnes and hours
    assert cost_of(layout, dollars_per_hour=None).dollars is None


def test_hours_at_the_rate_of_llama_2():
    assert llama_2_hours(LLAMA_7B, num_tokens=500 * 10**9) == ("7B", 184_320 / 4)
    assert llama_2_hours(LLAMA_34B, num_tokens=2 * 10**12) == ("34B", 1_038_336)
    assert llama_2_hours(replace(LLAMA_7B, num_layers=2), num_tokens=1) is None
