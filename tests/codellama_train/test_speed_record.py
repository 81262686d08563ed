"""What a run says of its speed: parts of a step, the slowest rank, FLOPs; in a real run with one rank slowed."""

from __future__ import annotations

import json
import time

import pytest
import torch
from launching import all_metrics, write_recipe
from test_bad_luck import train_apart

from codellama_train.timing import PARTS, StepTimer, slowest_rank

SLOW_ON_RANK_1 = """
import os, sys, time
from pathlib import Path
from codellama_train.loss import TrainingModel
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.train import train

def slowly(*arguments):
    time.sleep(0.5 * int(os.environ["RANK"]))
    return forward(*arguments)

forward, TrainingModel.forward = TrainingModel.forward, slowly
train(load(TrainingRecipe, Path(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def slowed_run(tmp_path_factory, training_data):
    """The last record of a run of two processes of which the second is slow, and the record of its launch."""
    folder = tmp_path_factory.mktemp("slowed")
    recipe = write_recipe(folder / "slowed.toml", runs=folder / "runs", data=training_data)
    recipe.write_text(recipe.read_text().replace("total_tokens = 3_072", "total_tokens = 1_536"))
    exit_codes, outputs = train_apart(recipe, [], [], program=("-c", SLOW_ON_RANK_1))
    assert exit_codes == [0, 0], outputs
    source = json.loads((folder / "runs/slowed/source.json").read_text())
    return all_metrics(folder / "runs/slowed")[-1], source["launches"][0]


def test_a_slow_rank_is_named(slowed_run):
    record, _ = slowed_run
    assert record["slowest_rank"] == 1
    assert 1.3 < record["slowest_rank_ratio"] <= 2, "of two ranks, the median is their mean"


def test_parts_of_a_step_sum_to_its_seconds(slowed_run):
    parts = slowed_run[0]["seconds_by_part"]
    assert list(parts) == [*PARTS, "rest"]
    assert sum(parts.values()) == pytest.approx(slowed_run[0]["seconds_per_step"], rel=1e-5)
    assert all(seconds > 0 for seconds in parts.values()), parts  # step 4 of steps 4 to 6 is saved
    assert parts["backward"] + parts["rest"] > 0.9, "the first rank waits for the second, twice half a second a step"


def test_flops_are_those_of_the_formula_that_the_launch_names(slowed_run, tokenizer):
    record, launch = slowed_run
    named = launch["model_flops"]
    matrices = 2 * (4 * 32 * 32 + 3 * 32 * 64) + tokenizer.vocabulary_size * 32  # two layers, and the output layer
    assert named["per_token"] == 6 * matrices + 6 * 2 * 32 * 64
    assert named["formula"].startswith("per token 6 x trained")
    assert (named["device"], named["device_peak_bfloat16_dense_per_second"]) == ("cpu", None)
    assert record["mfu"] is None
    per_device = record["tokens_per_second_per_device"]
    assert per_device == pytest.approx(record["tokens_per_second"] / 2, rel=1e-5)
    assert record["model_flops_per_second_per_device"] == pytest.approx(per_device * named["per_token"], rel=1e-5)


def test_what_is_excluded_is_no_part_of_a_lap():
    timer = StepTimer(torch.device("cpu"))
    with timer.part("forward"):
        time.sleep(0.02)
    with timer.excluded():
        time.sleep(0.2)
    lap = timer.lap()
    assert 0.02 <= lap.by_part["forward"] <= lap.seconds < 0.2
    assert timer.lap().by_part["forward"] == 0


def test_the_slowest_of_many_ranks_is_compared_with_the_median():
    assert slowest_rank([1.0, 1.0, 3.0, 1.0]) == {"slowest_rank": 2, "slowest_rank_ratio": 3.0}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_parts_are_the_devices_seconds():
    device = torch.device("cuda")
    matrix = torch.randn(8192, 8192, device=device)
    timer = StepTimer(device)
    with timer.part("forward"):
        for _ in range(10):
            matrix @ matrix
    queued_seconds = time.perf_counter() - timer._started
    lap = timer.lap()
    assert lap.by_part["forward"] > 2 * queued_seconds, "the call returns long before the work is done"
    assert lap.by_part["forward"] + lap.by_part["rest"] == pytest.approx(lap.seconds)
