"""Plans of memory: against real trainings, as benchmarks/plan_memory.py measures them, and against arithmetic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from test_shape import ALL_LAYERS, LLAMA_2, recipe_of

from codellama_train.planning.memory import ALLOWANCE, memory_of

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))
from plan_memory import ROWS

SHORT = ("ZeRO 1", "LoRA, 12,288 tokens")
SEVEN, WEIGHTS = LLAMA_2["7b"]
SEVERAL = {"tokens_per_step": 2**17}  # micro-steps, however many devices share a sequence


@pytest.mark.parametrize("row", [row if row in SHORT else pytest.param(row, marks=pytest.mark.slow) for row in ROWS])
def test_a_real_training_takes_what_was_planned(row, project):
    """The command fails where plan and measurement are more than a tenth apart."""
    command = [sys.executable, "benchmarks/plan_memory.py", "--rows", row]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def plan(num_devices=8, *, tokens_per_step=None, lora=None, on_gpu=True, **machine):
    """Plan Llama 2 7B; a step is one sequence of 4,096 on each device unless more tokens are asked for."""
    recipe = recipe_of(
        model={"init_from": "nowhere"},
        data={"sequence_length": 4_096, "seed": 1, "sources": {"code": {"shards": "nowhere", "share": 1.0}}},
        batch={"tokens_per_step": tokens_per_step or 4_096 * num_devices, "total_tokens": 2**24},
        machine={
            "zero_stage": 1,
            "sequences_per_device": 1,
            "activation_checkpointing": True,
            "log_every_steps": 1,
            "save_every_steps": 5,
            "keep_checkpoints": 1,
            **machine,
        },
        **({"lora": lora} if lora else {}),
    )
    return memory_of(recipe, SEVEN, num_devices=num_devices, on_gpu=on_gpu)


@pytest.mark.parametrize(("stage", "devices"), [(1, 1), (1, 8), (2, 8), (3, 8), (3, 64)])
def test_lasting_parts_are_those_of_the_zero_paper(stage, devices):
    """Two bytes a weight, cut up at stage 3; twelve of the optimizer, cut up always (Rajbhandari et al., 2020)."""
    parts = plan(devices, zero_stage=stage).parts
    assert parts["weights"] == pytest.approx(2 * WEIGHTS / (devices if stage == 3 else 1))
    assert parts["optimizer"] == pytest.approx(12 * WEIGHTS / devices)


def test_several_micro_steps_sum_gradients_in_float32():
    parts = {stage: plan(**SEVERAL, zero_stage=stage).parts for stage in (1, 2, 3)}
    assert parts[1]["accumulated gradients"] == 4 * WEIGHTS, "stage 1 keeps whole gradients on each device"
    assert parts[2]["accumulated gradients"] == parts[3]["accumulated gradients"] == 4 * WEIGHTS // 8


def test_what_leaves_the_device_is_on_the_host():
    at_home = plan(zero_stage=3)
    gone = plan(zero_stage=3, offload={"optimizer": "cpu", "parameters": "cpu"})
    assert not at_home.host_parts
    assert not {"optimizer", "weights"} & gone.parts.keys()
    assert gone.host_parts["optimizer"] == pytest.approx(16 * WEIGHTS / 8), "gradients in float32 are there as well"
    assert gone.host_parts["weights"] == pytest.approx(2 * WEIGHTS / 8)
    on_drive = plan(zero_stage=3, offload={"optimizer": "nvme", "parameters": "nvme", "nvme_path": "drive"})
    assert on_drive.total == gone.total
    assert on_drive.host_total < gone.host_total


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"num_devices": 16}, {"num_devices": 8}),
        ({"zero_stage": 3}, {"zero_stage": 2}),
        ({"sequence_parallel": 2, "zero_stage": 3, **SEVERAL}, {"zero_stage": 3, **SEVERAL}),
        ({}, {"activation_checkpointing": False}),
        ({"kernels": "liger"}, {}),
        ({"mlp_tile_tokens": 512, "zero_stage": 3}, {"zero_stage": 3}),
        ({"lora": {"rank": 16, "alpha": 32, "target_modules": ALL_LAYERS, "quantization": "nf4"}}, {}),
        ({"on_gpu": False}, {"on_gpu": True}),
    ],
)
def test_what_saves_memory_saves_it(less, more):
    assert plan(**less).total <= plan(**more).total


def test_the_allowance_is_a_stated_share_of_all_else():
    memory = plan()
    assert memory.parts["allowance"] == round(ALLOWANCE * (memory.total - memory.parts["allowance"]))
    assert "allowance" not in plan(on_gpu=False).parts
