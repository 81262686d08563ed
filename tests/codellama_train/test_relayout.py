"""A run moved between numbers of processes and ZeRO stages ends as if it had stayed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from launching import kill_when, read_metrics, relative_distance, start_training, train, write_recipe
from safetensors.torch import load_file

# Processes, ZeRO stage and sequences per device of each leg; without accumulation, stage 1 has another optimizer.
SHORT = [(2, 2, 1), (1, 3, 2), (2, 1, 2)]
LONG = [(2, 1, 2), (2, 1, 1), (1, 2, 1), (2, 3, 2), (1, 1, 4)]
STEPS_OF_A_LEG = 2


@pytest.mark.parametrize(
    "layouts", [SHORT, pytest.param(LONG, marks=pytest.mark.slow), pytest.param(LONG[::-1], marks=pytest.mark.slow)]
)
def test_a_moved_run_ends_as_one_that_stayed(layouts, training_data, tmp_path):
    stayed = write_recipe(tmp_path / "stayed.toml", runs=tmp_path / "runs", data=training_data)
    moved = write_recipe(tmp_path / "moved.toml", runs=tmp_path / "runs", data=training_data)
    saving = [f"machine.save_every_steps={STEPS_OF_A_LEG}", "machine.log_every_steps=1"]
    train(stayed, saving)
    run_dir = tmp_path / "runs/moved"
    for leg, (processes, *machine) in enumerate(layouts[:-1], start=1):
        run = start_training(moved, [*saving, *settings_of(machine)], processes=processes)
        kill_when(run, (run_dir / f"checkpoints/step-{leg * STEPS_OF_A_LEG:06d}").is_dir)
    processes, *machine = layouts[-1]
    said = train(moved, [*saving, *settings_of(machine)], processes=processes)
    assert re.search(r"was saved with processes=\d, machine.zero_stage=\d.*; bringing it to processes=", said)
    assert not list(run_dir.glob("checkpoints/.*"))
    for ours, theirs in zip(read_metrics(run_dir), read_metrics(tmp_path / "runs/stayed"), strict=True):
        assert ours["tokens_by_source"] == theirs["tokens_by_source"]
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=2e-3)
        assert ours["gradient_norm"] == pytest.approx(theirs["gradient_norm"], rel=2e-2)
    weights = (load_file(tmp_path / f"runs/{name}/final/model.safetensors") for name in ("moved", "stayed"))
    assert relative_distance(*weights) < 5e-3


def settings_of(machine: Sequence[int]) -> list[str]:
    return [f"machine.zero_stage={machine[0]}", f"machine.sequences_per_device={machine[1]}"]
