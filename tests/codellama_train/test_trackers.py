"""Trackers, real ones: what they were sent is read back from their files."""

from __future__ import annotations

import importlib.util
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launching import write_recipe
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto import wandb_internal_pb2

from codellama_train.console import UserError
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.trackers import Trackers, numbers, require_trackers

WANDB = 'machine.wandb={project = "tests", mode = "offline"}'


@pytest.fixture
def load_recipe(tmp_path):
    path = write_recipe(tmp_path / "mini.toml", runs=tmp_path / "runs", data=tmp_path)
    (tmp_path / "runs/mini").mkdir(parents=True)
    return lambda *overrides: load(TrainingRecipe, path, overrides)


def record_of(step: int, value: float) -> dict:
    return {"step": step, "loss": value, "loss_by_source": {"code": value / 2, "language": None}, "mfu": None}


def log_two_launches(recipe) -> None:
    """Log steps 1 to 4, then, as after a kill, again from step 3, with other numbers so that they can be told apart."""
    for resumed_step, steps, scale in ((0, range(1, 5), 1.0), (2, range(3, 7), 10.0)):
        trackers = Trackers(recipe, resumed_step=resumed_step)
        for step in steps:
            trackers.log(record_of(step, step * scale), step=step)
        trackers.finish()
        time.sleep(1)  # wandb names its folders by the second


def test_nested_numbers_have_paths_and_what_is_unknown_is_left_out():
    assert dict(numbers(record_of(1, 4.0))) == {"step": 1, "loss": 4.0, "loss_by_source/code": 2.0}


def test_tensorboard_has_each_step_once(load_recipe):
    recipe = load_recipe("machine.tensorboard=true")
    log_two_launches(recipe)
    events = EventAccumulator(str(recipe.run_dir / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {"step", "loss", "loss_by_source/code"}
    points = {event.step: event.value for event in events.Scalars("loss_by_source/code")}
    assert points == {1: 0.5, 2: 1.0, 3: 15.0, 4: 20.0, 5: 25.0, 6: 30.0}
    assert len(events.Scalars("loss")) == 6


def test_an_absent_tensorboard_is_refused(load_recipe, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find_spec(name))
    with pytest.raises(UserError, match=r"pip install tensorboard, or remove the key"):
        require_trackers(load_recipe("machine.tensorboard=true"))
    require_trackers(load_recipe())


def test_wandb_offline_keeps_every_launch_of_a_run_folder_as_one_run(load_recipe):
    recipe = load_recipe(WANDB)
    log_two_launches(recipe)
    files = sorted((recipe.run_dir / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    assert len({path.name for path in files}) == 1, "a launch continues the run folder's own run"
    histories = [wandb_history(path) for path in files]
    assert [list(history) for history in histories] == [[1, 2, 3, 4], [3, 4, 5, 6]]
    assert histories[1][6]["loss_by_source/code"] == 30.0
    assert "mfu" not in histories[0][1]


LOSES_WANDB = """
import os, sys
from pathlib import Path
import psutil
from codellama_train.console import log_to_standard_error
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.trackers import Trackers

log_to_standard_error()
trackers = Trackers(load(TrainingRecipe, Path(sys.argv[1]), sys.argv[2:]), resumed_step=0)
trackers.log({"loss": 1.0}, step=1)
processes = psutil.process_iter(["name", "ppid"])
services = [each for each in processes if each.info == {"name": "wandb-core", "ppid": os.getpid()}]
assert services
for service in services:
    service.kill()
psutil.wait_procs(services)
for step in range(2, 6):
    trackers.log({"loss": 1.0}, step=step)
trackers.finish()
"""


def test_training_goes_on_where_wandb_dies(load_recipe, tmp_path, project):
    recipe = load_recipe(WANDB, "machine.tensorboard=true")
    result = subprocess.run(
        [sys.executable, "-c", LOSES_WANDB, str(tmp_path / "mini.toml"), WANDB, "machine.tensorboard=true"],
        cwd=project,
        check=False,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"},  # one of its own
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("Weights & Biases has failed and gets no more metrics") == 1, result.stderr
    events = EventAccumulator(str(recipe.run_dir / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5]


def test_wandb_without_an_account_is_refused(load_recipe, monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"machine\.wandb: No API key configured.* Or set machine\.wandb\.mode=offline"):
        Trackers(load_recipe(WANDB.replace("offline", "online")), resumed_step=0)


def wandb_history(path: Path) -> dict[int, dict[str, float]]:
    """Read the values of each step from an offline run: records in LevelDB's log format after seven bytes."""
    data, position, part, steps = path.read_bytes(), 7, b"", {}
    while position + 7 <= len(data):
        room = 32_768 - position % 32_768
        if room < 7:
            position += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        part += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            record = wandb_internal_pb2.Record.FromString(part)
            part = b""
            if record.WhichOneof("record_type") == "history":
                values = {
                    "/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item
                }
                steps[record.history.step.num] = values
    return steps
