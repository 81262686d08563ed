"""Whatever kills a run or damages its files: run again, it ends as an untouched one, or stops and names the file.

Faults are drawn at random, from a new seed each time; it is printed with a failure, and FAULTS_SEED=… repeats it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from launching import PROJECT, kill_when, read_metrics, relative_distance, start_training, train, write_recipe
from safetensors.torch import load_file

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import examine

SEED = int(os.environ.get("FAULTS_SEED") or time.time_ns() % 1_000_000)
SAVING = "machine.save_every_steps=1"  # of 12 steps; 11 saves
FAULTY = "tests/codellama_train/faulty_training.py"
DAMAGES = ("a bit flipped", "cut short", "emptied", "deleted")

# Audit events with what they act on, and the ranks that come there.
PLACES = {
    "in checksums": ("open", r"\.partial/engine/.*states\.pt", (0, 1)),
    "in the manifest": ("os.rename", r"\.partial/\.manifest\.json", (0,)),
    "in the rename": ("os.rename", r"\.step-\d+\.partial.*/step-\d+", (0,)),
    "in removing the oldest": ("shutil.rmtree", r"\.outgoing", (0,)),
}


@dataclass(frozen=True)
class Run:
    """A run of the tests' recipe."""

    recipe: Path

    @property
    def folder(self) -> Path:
        return self.recipe.parent / "runs" / self.recipe.stem

    def saved(self) -> list[Path]:
        """List the checkpoints, the oldest first."""
        return sorted(self.folder.glob("checkpoints/step-*"))

    def require_same_end(self, untouched: Run) -> None:
        """Demand an untouched run's metrics and weights, to the bit, and nothing left over."""
        assert read_metrics(self.folder) == read_metrics(untouched.folder)
        ours, theirs = (artifacts.verify_manifest(run.folder / "final")["files"] for run in (self, untouched))
        assert ours == theirs
        names = [path.name for path in sorted((self.folder / "checkpoints").iterdir())]
        assert names == ["step-000010", "step-000011"]
        assert not list(self.folder.glob(".final*"))


def new_run(folder: Path, data: Path) -> Run:
    return Run(write_recipe(folder / "mini.toml", runs=folder / "runs", data=data))


@pytest.fixture(scope="module")
def untouched(tmp_path_factory, training_data):
    run = new_run(tmp_path_factory.mktemp("untouched"), training_data)
    train(run.recipe, [SAVING])
    return run


@pytest.fixture(scope="module")
def killed(tmp_path_factory, training_data):
    """A run that keeps two checkpoints and was killed when it was to put the eighth in its place."""
    run = new_run(tmp_path_factory.mktemp("killed"), training_data)
    event, place, _ = PLACES["in the rename"]
    exit_code, _ = train_with_fault(run.recipe, event=event, place=place, count=8, rank=0, hits="all")
    assert exit_code == -signal.SIGKILL
    names = [path.name for path in sorted((run.folder / "checkpoints").iterdir())]
    assert names == [".step-000008.partial", "step-000006", "step-000007"]
    return run


@pytest.fixture
def interrupted(killed, training_data, tmp_path):
    """A copy of it, to be continued."""
    shutil.copytree(killed.folder.parent, tmp_path / "runs")
    return new_run(tmp_path, training_data)


def train_with_fault(
    recipe: Path, overrides: tuple[str, ...] = (SAVING,), *, sends: str = "SIGKILL", **fault: object
) -> tuple[int, str]:
    """Train with a signal at a moment; give the launcher's exit code and what was printed."""
    environment = {"FAULT": json.dumps({**fault, "signal": sends})}
    process = start_training(recipe, overrides, program=FAULTY, environment=environment)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def kill_in_a_step_or_save(rng: random.Random, run: Run) -> str:
    """Kill everything, or one process alone, some time after this launch's first save; give what was printed."""
    delay, victim, before = rng.uniform(0, 0.2), rng.choice(["all", 0, 1]), run.saved()
    say(f"{victim} killed {delay:.2f} s after the first save of a launch")
    process = start_training(run.recipe, [SAVING])

    def is_due() -> bool:
        is_saved = run.saved()[-1:] > before[-1:]
        time.sleep(delay if is_saved else 0)
        return is_saved

    if victim == "all":
        return kill_when(process, is_due)
    while not is_due():
        assert process.poll() is None, process.communicate()[0][-4000:]
        time.sleep(0.02)
    os.kill(process_of_rank(process, int(victim)), signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0, output[-4000:]
    return output


def process_of_rank(launcher: subprocess.Popen[str], rank: int) -> int:
    """Find a launched process by its group and its environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == launcher.pid and f"\0RANK={rank}\0" in (folder / "environ").read_text():
                return int(folder.name)
        except (ProcessLookupError, FileNotFoundError):
            continue
    raise AssertionError(f"no process of rank {rank} in the group {launcher.pid}")


def kill_at_a_place(rng: random.Random, run: Run) -> None:
    """Kill everything, or the process that is there alone, at a place within the third or fourth save."""
    name = rng.choice(sorted(PLACES))
    event, place, ranks = PLACES[name]
    # Each process opens its states twice a save, to flush and to hash; the third save is the first to remove another.
    count = {"in checksums": rng.randrange(9, 13), "in removing the oldest": 1}.get(name, rng.randrange(3, 5))
    fault = {"count": count, "rank": rng.choice(ranks), "hits": rng.choice(["all", "one"])}
    say(f"killed {name}: {fault}")
    exit_code, output = train_with_fault(run.recipe, event=event, place=place, **fault)
    assert exit_code != 0, output[-4000:]


def kill_in_the_export(rng: random.Random, run: Run) -> None:
    """Kill everything, or the process that exports alone, while it writes the finished model."""
    event, place = rng.choice([("open", r"\.final\.partial"), ("os.rename", r"\.final\.partial.*/final")])
    fault = {"count": 1, "rank": 0, "hits": rng.choice(["all", "one"])}
    say(f"killed in the export: {event} {fault}")
    exit_code, output = train_with_fault(run.recipe, event=event, place=place, **fault)
    assert exit_code != 0, output[-4000:]
    assert not (run.folder / "final").exists()


def damage(rng: random.Random, path: Path) -> None:
    """Damage a file in one of the ways that disks and people do."""
    kind = rng.choice(DAMAGES)
    data = bytearray(path.read_bytes())
    if kind == "deleted":
        path.unlink()
    else:
        place = rng.randrange(len(data))
        data[place] ^= 1 << rng.randrange(8)
        path.write_bytes({"a bit flipped": data, "cut short": data[:place], "emptied": b""}[kind])
    say(f"{path.parent.name}/{path.name} {kind}")


def drawn(name: object) -> random.Random:
    """Give the generator of one test's faults, saying how to have the same again."""
    say(f"FAULTS_SEED={SEED}")
    return random.Random(f"{SEED} {name}")


def say(text: str) -> None:
    """Tell what pytest shows with a failure."""
    sys.stdout.write(text + "\n")


def files_of(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


Fault = Callable[[random.Random, Run], None]


def live_through(more: Sequence[Fault], rng: random.Random, run: Run) -> None:
    """Kill a run within a save, damage its newest checkpoint, kill it some time later; then the given faults."""
    kill_at_a_place(rng, run)
    path = rng.choice(files_of(run.saved()[-1]))
    damage(rng, path)
    named = path.parent if path.name == artifacts.MANIFEST and not path.exists() else path
    output = kill_in_a_step_or_save(rng, run)
    assert f"passing over a damaged checkpoint: {named}" in output, output[-4000:]
    for fault in more:
        fault(rng, run)
    train(run.recipe, [SAVING])


def test_a_run_with_three_faults_ends_as_an_untouched_one(untouched, training_data, tmp_path):
    run = new_run(tmp_path, training_data)
    live_through([], drawn("short"), run)
    run.require_same_end(untouched)


@pytest.mark.slow
@pytest.mark.parametrize("life", range(5))
def test_five_runs_with_four_faults_each_end_as_an_untouched_one(life, untouched, training_data, tmp_path):
    run = new_run(tmp_path, training_data)
    live_through([kill_in_the_export], drawn(life), run)
    run.require_same_end(untouched)


def test_every_file_of_a_checkpoint_is_vouched_for(interrupted):
    rng, checkpoint = drawn("every file"), interrupted.saved()[-1]
    assert len(files_of(checkpoint)) == 7  # of two processes optimizer states, weights, two scripts, position, manifest
    for path in files_of(checkpoint):
        stored = path.read_bytes()
        damage(rng, path)
        with pytest.raises(artifacts.CorruptArtifact, match=path.name):
            artifacts.verify_manifest(checkpoint)
        path.write_bytes(stored)
    artifacts.verify_manifest(checkpoint)


def train_alone(recipe: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Train in one process without a launcher."""
    command = [sys.executable, "scripts/train.py", str(recipe), *overrides]
    return subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True, timeout=300)


def test_a_run_whose_every_checkpoint_is_damaged_stops_and_names_them(interrupted):
    rng, folder = drawn("every checkpoint"), interrupted.folder
    damaged = [rng.choice(files_of(checkpoint / "engine")) for checkpoint in interrupted.saved()]
    for path in damaged:
        damage(rng, path)
    result = train_alone(interrupted.recipe)
    assert result.returncode == 2, result.stderr[-4000:]
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"error: every checkpoint of {folder} is damaged: ")
    assert all(str(path) in last for path in damaged)
    assert f"remove {folder / 'checkpoints'} to start anew" in last
    assert not (folder / "final").exists()


def test_a_damaged_base_is_not_trained_from(tokenizer, save_model, training_data, tmp_path):
    base = save_model(tmp_path / "base", tokenizer, seed=1)
    recipe = write_recipe(tmp_path / "mini.toml", runs=tmp_path / "runs", data=training_data)
    text = recipe.read_text()
    start, end = text.index("[model.architecture]"), text.index("[data]\n")
    recipe.write_text((text[:start] + text[end:]).replace("[model]", f'[model]\ninit_from = "{base}"'))
    weights = base / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 4
    weights.write_bytes(data)
    result = train_alone(recipe)
    assert result.returncode == 2, result.stderr[-4000:]
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"error: model.init_from={str(base)!r} is damaged: {weights} is not the file its manifest ")
    assert not (tmp_path / "runs").exists()


def test_a_finished_model_with_a_damaged_file_is_not_called_complete(untouched, training_data, tmp_path):
    shutil.copytree(untouched.folder.parent, tmp_path / "runs")
    recipe = load(TrainingRecipe, new_run(tmp_path, training_data).recipe)
    assert examine(recipe) == "complete"
    weights = recipe.run_dir / "final/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"model\.safetensors is not the file .* Remove .*final, and the same command"):
        examine(recipe)
    shutil.rmtree(recipe.run_dir / "final")
    assert examine(recipe) == "started"


@pytest.mark.slow
@pytest.mark.parametrize("event", ["subprocess.Popen ds_to_universal", r"open \.converted/parts/zero"])
def test_a_run_killed_in_a_change_of_layout_ends_as_one_that_was_not(event, interrupted, untouched):
    name, place = event.split()
    overrides = (SAVING, "machine.zero_stage=3")
    exit_code, _ = train_with_fault(interrupted.recipe, overrides, event=name, place=place, count=1, rank=0, hits="all")
    assert exit_code == -signal.SIGKILL
    train(interrupted.recipe, overrides)
    assert not list(interrupted.folder.glob("checkpoints/.*"))
    weights = (load_file(run.folder / "final/model.safetensors") for run in (interrupted, untouched))
    assert relative_distance(*weights) < 5e-3


@pytest.mark.slow
def test_a_request_to_stop_within_a_save_is_obeyed_after_it(untouched, training_data, tmp_path):
    run = new_run(tmp_path, training_data)
    event, place, _ = PLACES["in checksums"]
    exit_code, said = train_with_fault(
        run.recipe, sends="SIGUSR1", event=event, place=place, count=5, rank=1, hits="one"
    )
    assert exit_code == 0, said[-4000:]
    assert "stopped as asked after step" in said
    train(run.recipe, [SAVING])
    run.require_same_end(untouched)


@pytest.mark.slow
def test_a_request_to_stop_within_the_export_comes_too_late_to_matter(interrupted, untouched):
    exit_code, said = train_with_fault(
        interrupted.recipe, sends="SIGUSR1", event="open", place=r"\.final\.partial", count=1, rank=0, hits="one"
    )
    assert exit_code == 0, said[-4000:]
    interrupted.require_same_end(untouched)
