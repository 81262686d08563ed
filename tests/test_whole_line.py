"""The quickstart itself, whole, on few tokens: killed again and again it ends with the same weights."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from launching import read_metrics

from codellama_train import artifacts

STAGES = (
    "base",
    "code",
    "code_without_infilling",
    "code_from_scratch",
    "lora",
    "python",
    "long_context",
    "instruct",
)


def copy_of(project: Path, folder: Path) -> Path:
    """Copy the tracked files, with recipes that train for a few seconds, beside the environment that runs this."""
    names = subprocess.run(["git", "ls-files"], cwd=project, check=True, capture_output=True, text=True).stdout
    for name in names.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / name, folder / name)
    for recipe in (folder / "recipes/tiny").glob("*.toml"):
        text = re.sub(r"^total_tokens = .*$", "total_tokens = 61_440", recipe.read_text(), flags=re.MULTILINE)
        text = re.sub(r"^save_every_steps = .*$", "save_every_steps = 5", text, flags=re.MULTILINE)
        text = re.sub(r"^warmup_steps = .*$", "warmup_steps = 5", text, flags=re.MULTILINE)
        recipe.write_text(text)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def start(folder: Path, code: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", "scripts/quickstart.sh", str(code)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"},
    )


def run_to_the_end(folder: Path, code: Path) -> str:
    process = start(folder, code)
    output, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, output[-5000:]
    return output


@pytest.mark.slow
def test_killed_quickstart_ends_as_an_uninterrupted_one(project, tmp_path):
    if not (Path(sys.prefix) / "installed").is_file():
        pytest.skip("needs the environment that scripts/setup.sh makes")
    code = tmp_path / "code"
    for package in ("json", "email", "asyncio", "logging", "unittest"):
        shutil.copytree(Path(sysconfig.get_paths()["stdlib"]) / package, code / package)
    whole = copy_of(project, tmp_path / "whole")
    printed = run_to_the_end(whole, code)
    assert "report.html" in printed
    killed = copy_of(project, tmp_path / "killed")
    rng = random.Random(0)
    kills = 0
    while True:
        process = start(killed, code)
        try:
            output, _ = process.communicate(timeout=rng.uniform(20, 60))
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
    assert process.returncode == 0, output[-5000:]
    assert kills > 3
    (ours,), (theirs,) = whole.glob("runs/own-*"), killed.glob("runs/own-*")
    for stage in STAGES:
        first, second = ours / "tiny" / stage, theirs / "tiny" / stage
        assert read_metrics(first) == read_metrics(second), stage
        weights = [artifacts.sha256_of(run_dir / "final/model.safetensors") for run_dir in (first, second)]
        assert weights[0] == weights[1], stage
    assert (theirs / "tiny/report.html").stat().st_size > 10_000
