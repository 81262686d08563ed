"""`scripts/plan.py` as a person runs it: what it says, what it refuses, and that it needs no torch."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from plan_inputs import recipe_of

from codellama_train.recipe.loading import as_toml, load
from codellama_train.recipe.training import TrainingRecipe

SHAPES = {
    "7b": (4096, 11_008, 32, 32, 32),
    "34b": (8192, 22_016, 48, 64, 8),
}
KEYS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")


@pytest.fixture
def write(tmp_path):
    """Write a person's own recipe, in a folder of their own."""

    def write_recipe(name="mine", shape="7b", **choices):
        (tmp_path / "own").mkdir(exist_ok=True)
        path = tmp_path / "own" / f"{name}.toml"
        text = as_toml(recipe_of(**choices))
        if shape:
            sizes = dict(zip(KEYS, SHAPES[shape], strict=True))
            text += "\n[model.architecture]\nvocab_size = 32_016\n"
            text += "".join(f"{key} = {value}\n" for key, value in sizes.items())
        path.write_text(text)
        return path

    return write_recipe


def plan(project, *arguments):
    """Run the script where torch and what needs it cannot be imported."""
    blocked = (
        "import runpy, sys\nfor name in ('torch', 'transformers', 'deepspeed', 'peft'): sys.modules[name] = None\n"
    )
    program = blocked + "sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", program, "scripts/plan.py", *map(str, arguments)]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120)


def test_a_recipe_is_planned_and_its_last_line_launches_the_recommended_layout(project, write):
    path = write()
    done = plan(
        project, path, "--devices", "64xA100-80", "--price-per-hour", "2.5", "batch.total_tokens=500_000_000_000"
    )
    assert done.returncode == 0, done.stderr
    for said in ("6,738,546,688", "as written", "recommended", "assumptions", "MFU", "46,080", "1,400K", "activations"):
        assert said in done.stdout
    words = shlex.split(done.stdout.splitlines()[-1])
    given = "batch.total_tokens=500_000_000_000"
    assert words[:6] == ["deepspeed", "--hostfile", "hostfile", "scripts/train.py", str(path), given]
    assert words[6:]
    assert load(TrainingRecipe, path, words[5:]).machine != load(TrainingRecipe, path).machine


def test_a_price_gives_a_cost(project, write):
    path = write(rows=64)
    done = plan(project, path, "--devices", "8xH100", "--price-per-hour", "2")
    values = {
        line.split("│")[1].strip(): line.split("│")[2].strip() for line in done.stdout.splitlines() if "│" in line
    }
    hours, cost = (float(values[name].replace(",", "")) for name in ("device hours", "cost"))
    assert cost == pytest.approx(2 * hours, rel=0.02)
    assert "give --price-per-hour" in plan(project, path, "--devices", "8xH100").stdout


def test_what_does_not_fit_says_what_is_missing_and_how_many_devices_would_do(project, write):
    done = plan(project, write(shape="34b"), "--devices", "8x4090")
    assert done.returncode == 2
    assert "does not fit on 8x4090" in done.stderr
    assert "lacks" in done.stderr
    assert "x4090 would do" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recipe_that_cannot_run_as_written_may_still_run(project, write):
    done = plan(project, write(sequence_parallel=2, zero_stage=3), "--devices", "3xA100-80")
    assert done.returncode == 0, done.stderr
    assert "machine.sequence_parallel=2 does not divide the number of devices, 3" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("deepspeed --num_accelerators 3 scripts/train.py")


def test_a_folder_is_planned_stage_by_stage_with_their_sum(project, write):
    folder = write("code").parent
    write("python")
    done = plan(project, folder, "--devices", "64xH100", "--price-per-hour", "2")
    assert done.returncode == 0, done.stderr
    lines = {line.split("│")[1].strip(): line.split("│") for line in done.stdout.splitlines() if line.count("│") > 5}
    cost = {name: float(lines[name][6].replace(",", "")) for name in ("code", "python", "together")}
    assert cost["together"] == pytest.approx(cost["code"] + cost["python"], rel=0.01)
    assert "400K" in done.stdout


@pytest.mark.parametrize(
    ("choices", "arguments", "said"),
    [
        ({}, ["--devices", "64xA100"], "did you mean A100-40 or"),
        ({}, ["--devices", "7xA100-80", "batch.tokens_per_step=32_768"], "rows would be padding"),
        ({}, ["--devices", "A100-80", "machine.zero_stag=3"], "did you mean 'machine.zero_stage'?"),
        ({}, ["--devices", "A100-80", "--price-per-hour", "-1"], "--price-per-hour"),
        ({}, [], "--devices"),
        ({"shape": None}, ["--devices", "A100-80"], "state it in [model.architecture]"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(project, write, choices, arguments, said):
    done = plan(project, write(**choices), *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_place_without_recipes_is_refused(project, tmp_path):
    for place in (tmp_path, tmp_path / "missing.toml"):
        done = plan(project, place, "--devices", "A100-80")
        assert done.returncode == 2
        assert str(place) in done.stderr


def test_files_that_launch_are_written(project, write, tmp_path):
    done = plan(project, write(), "--devices", "16xA100-80", "--write", tmp_path / "launch")
    assert done.returncode == 0, done.stderr
    written = sorted(path.name for path in (tmp_path / "launch").iterdir())
    assert written
    assert all(str(tmp_path / "launch" / name) in done.stdout for name in written)


def test_a_reader_who_has_seen_enough_gets_no_traceback(project):
    command = [sys.executable, "scripts/plan.py", "recipes/7b/code.toml", "--devices", "64xA100-80"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
