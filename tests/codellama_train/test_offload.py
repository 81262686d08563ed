"""Runs whose optimizer state and weights live off the device: equal to plain torch, resumable, movable, exported."""

from __future__ import annotations

import subprocess
import sys

import pytest
from deepspeed.ops.op_builder import AsyncIOBuilder
from launching import PROJECT, kill_when, read_metrics, relative_distance, start_training, train, write_recipe
from safetensors.torch import load_file
from test_lora import adapter_of, in_peft_names, write_base, write_lora_recipe
from test_lora import reference_run as lora_reference_run
from test_train import check_against, final_weights, reference_run

from codellama_train import offload
from codellama_train.console import UserError
from codellama_train.offload import require_drive
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe

OPTIMIZER = "machine.offload.optimizer=cpu"
PARAMETERS = "machine.offload.parameters=cpu"
SLOW = pytest.mark.slow

needs_drive = pytest.mark.skipif(
    not AsyncIOBuilder().is_compatible(verbose=False), reason="needs libaio: apt-get install libaio-dev"
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory, training_data, tokenizer):
    folder = tmp_path_factory.mktemp("reference")
    recipe = write_recipe(folder / "reference.toml", runs=folder / "runs", data=training_data)
    return reference_run(load(TrainingRecipe, recipe), tokenizer)


@pytest.mark.parametrize(
    ("processes", "overrides"),
    [
        (1, ["machine.zero_stage=3", OPTIMIZER, PARAMETERS]),
        pytest.param(2, ["machine.zero_stage=2", OPTIMIZER], marks=SLOW),
        pytest.param(2, ["machine.zero_stage=1", OPTIMIZER], marks=SLOW),
        pytest.param(1, ["machine.zero_stage=1", OPTIMIZER], marks=SLOW),  # a sum over four micro-steps
        pytest.param(1, ["machine.zero_stage=1", OPTIMIZER, "machine.sequences_per_device=4"], marks=SLOW),
        pytest.param(2, ["machine.zero_stage=2", OPTIMIZER, "machine.sequences_per_device=2"], marks=SLOW),
        pytest.param(2, ["machine.zero_stage=3", OPTIMIZER], marks=SLOW),
        pytest.param(2, ["machine.zero_stage=3", PARAMETERS], marks=SLOW),
    ],
)
def test_equals_plain_torch(processes, overrides, reference, training_data, tmp_path):
    recipe = write_recipe(tmp_path / "whole.toml", runs=tmp_path / "runs", data=training_data)
    train(recipe, overrides, processes=processes)
    check_against(reference, tmp_path / "runs/whole")


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["machine.zero_stage=1", OPTIMIZER],
        ["machine.zero_stage=2", OPTIMIZER],
        ["machine.zero_stage=3", OPTIMIZER, PARAMETERS],
    ],
)
def test_a_killed_run_resumes_to_the_same_weights(overrides, training_data, tmp_path):
    whole, killed = (
        write_recipe(tmp_path / f"{name}.toml", runs=tmp_path / "runs", data=training_data)
        for name in ("whole", "killed")
    )
    train(whole, overrides)
    run_dir = tmp_path / "runs/killed"
    kill_when(start_training(killed, overrides), (run_dir / "checkpoints/step-000004").is_dir)
    assert "continuing after step" in train(killed, overrides)
    assert final_weights(run_dir) == final_weights(tmp_path / "runs/whole")
    assert read_metrics(run_dir) == read_metrics(tmp_path / "runs/whole")


ALL = [OPTIMIZER, PARAMETERS]
# Processes, ZeRO stage and offload of each leg. Files do not show where state lay: within a stage nothing is converted.
SHORT = [(1, 2, []), (1, 2, [OPTIMIZER])]
LONG = [(2, 1, [OPTIMIZER]), (2, 1, []), (1, 3, ALL), (2, 3, [OPTIMIZER]), (2, 3, []), (1, 2, [OPTIMIZER])]


@pytest.mark.parametrize("legs", [SHORT, pytest.param(LONG, marks=SLOW), pytest.param(LONG[::-1], marks=SLOW)])
def test_a_run_ends_the_same_wherever_its_state_lies_meanwhile(legs, reference, training_data, tmp_path):
    recipe = write_recipe(tmp_path / "moved.toml", runs=tmp_path / "runs", data=training_data)
    run_dir = tmp_path / "runs/moved"
    saving = ["machine.save_every_steps=2"]
    for leg, (processes, stage, overrides) in enumerate(legs[:-1], start=1):
        run = start_training(recipe, [*saving, f"machine.zero_stage={stage}", *overrides], processes=processes)
        kill_when(run, (run_dir / f"checkpoints/step-{2 * leg:06d}").is_dir)
    processes, stage, overrides = legs[-1]
    said = train(recipe, [*saving, f"machine.zero_stage={stage}", *overrides], processes=processes)
    assert ("bringing it to" in said) == (legs is not SHORT)
    check_against(reference, run_dir)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "overrides"),
    [
        (2, [OPTIMIZER]),
        (3, ALL),
        pytest.param(3, ["machine.offload.optimizer=nvme", "machine.offload.parameters=nvme"], marks=needs_drive),
    ],
)
def test_adapters_equal_plain_torch(stage, overrides, training_data, tokenizer, tmp_path):
    if "machine.offload.optimizer=nvme" in overrides:
        overrides = [*overrides, f"machine.offload.nvme_path={tmp_path}"]
    base = write_base(tmp_path / "base", tokenizer, tied=False, is_wide=stage == 3)
    recipe = write_lora_recipe(tmp_path, training_data, base, kind="lora")
    train(recipe, [f"machine.zero_stage={stage}", *overrides])
    losses, norms, weights = lora_reference_run(recipe)
    records = read_metrics(tmp_path / "runs/adapters")
    assert [record["loss"] for record in records] == pytest.approx(
        [sum(losses[start : start + 3]) / 3 for start in range(0, 12, 3)], rel=5e-3
    )
    assert [record["gradient_norm"] for record in records] == pytest.approx(norms[2::3], rel=3e-2)
    assert relative_distance(adapter_of(tmp_path / "runs/adapters"), in_peft_names(weights)) < 0.05


def write_wide_recipe(folder, name, data):
    """Write the recipe with matrices that are large enough to go to a drive: a MiB each in bfloat16."""
    path = write_recipe(folder / f"{name}.toml", runs=folder / "runs", data=data)
    text = path.read_text().replace("hidden_size = 32", "hidden_size = 768").replace("heads = 2", "heads = 6")
    text = text.replace("intermediate_size = 64", "intermediate_size = 1024").replace("range = 0.1", "range = 0.02")
    path.write_text(text.replace("peak_learning_rate = 1e-2", "peak_learning_rate = 1e-3"))
    return path


@needs_drive
@pytest.mark.slow  # DeepSpeed compiles its reader at first use, for minutes
def test_state_on_a_drive_gives_the_same_bits_as_state_in_memory(training_data, tmp_path):
    drive = tmp_path / "drive"
    drive.mkdir()
    on_drive = ["machine.zero_stage=3", f"machine.offload.nvme_path={drive}", "machine.offload.optimizer=nvme"]
    everything = [*on_drive, "machine.offload.parameters=nvme"]
    in_memory, killed, moved = (
        write_wide_recipe(tmp_path, name, training_data) for name in ("in_memory", "killed", "moved")
    )
    train(in_memory, ["machine.zero_stage=3", OPTIMIZER], processes=1)
    kill_when(
        start_training(killed, everything, processes=1), (tmp_path / "runs/killed/checkpoints/step-000004").is_dir
    )
    assert list(drive.rglob("bfloat16params/rank0/*.swp")), "weights went to the drive"
    assert list(drive.rglob("optimizer/rank0/exp_avg*.swp")), "moments went to the drive"
    exported = tmp_path / "step-4"
    subprocess.run([sys.executable, "scripts/export.py", str(killed), str(exported)], cwd=PROJECT, check=True)
    assert "bringing it to" not in train(killed, everything, processes=1)
    assert final_weights(tmp_path / "runs/killed") == final_weights(tmp_path / "runs/in_memory")
    run_dir = tmp_path / "runs/moved"
    legs = [(4, 2, ["machine.zero_stage=2", OPTIMIZER]), (8, 2, on_drive)]
    for step, processes, overrides in legs:
        run = start_training(moved, overrides, processes=processes)
        kill_when(run, (run_dir / f"checkpoints/step-{step:06d}").is_dir)
    train(moved, ["machine.zero_stage=3"], processes=1)
    weights = (load_file(tmp_path / f"runs/{name}/final/model.safetensors") for name in ("moved", "in_memory"))
    assert relative_distance(*weights) < 5e-3


NVME = ["machine.zero_stage=3", "machine.offload.optimizer=nvme"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["machine.zero_stage=2", PARAMETERS], 'machine.offload.parameters="cpu" needs machine.zero_stage=3, not 2'),
        (
            ["machine.offload.optimizer=nvme", "machine.offload.nvme_path=/tmp"],
            'machine.offload.optimizer="nvme" needs machine.zero_stage=3, not 2',
        ),
        (NVME, "machine.offload.nvme_path is missing"),
        ([OPTIMIZER, "machine.offload.nvme_path=/tmp"], "machine.offload.nvme_path='/tmp' is used by nothing"),
        (
            ["machine.zero_stage=3", OPTIMIZER, "machine.offload.parameters=nvme", "machine.offload.nvme_path=/tmp"],
            'machine.offload.parameters="nvme" needs machine.offload.optimizer="nvme"',
        ),
        (["machine.offload.optimizer=disk"], "machine.offload.optimizer = 'disk'"),
    ],
)
def test_recipes_are_refused(overrides, message, training_data, tmp_path):
    recipe = write_recipe(tmp_path / "run.toml", runs=tmp_path / "runs", data=training_data)
    with pytest.raises(UserError) as error:
        load(TrainingRecipe, recipe, overrides)
    assert message in str(error.value)


def test_a_drive_that_cannot_be_used_is_refused(training_data, tmp_path, monkeypatch):
    recipe = write_recipe(tmp_path / "run.toml", runs=tmp_path / "runs", data=training_data)
    missing = load(TrainingRecipe, recipe, [*NVME, f"machine.offload.nvme_path={tmp_path}/missing"])
    with pytest.raises(UserError, match=r"missing' is no folder"):
        require_drive(missing.machine)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "built"))
    monkeypatch.setattr(offload.AsyncIOBuilder, "is_compatible", lambda *_, **__: True)
    usable = load(TrainingRecipe, recipe, [*NVME, f"machine.offload.nvme_path={tmp_path}"])
    require_drive(usable.machine)
    (tmp_path / "built/async_io/lock").touch()  # as a build leaves it that was killed
    with pytest.raises(UserError, match=r"async_io/lock says that a program is compiling"):
        require_drive(usable.machine)
    monkeypatch.setattr(offload.AsyncIOBuilder, "is_compatible", lambda *_, **__: False)
    with pytest.raises(UserError, match="apt-get install libaio-dev"):
        require_drive(usable.machine)
