"""The same recipe on a Ray cluster: two nodes with three processors between them, on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from preparing import copy_of_stdlib, mini_recipe
from test_pipeline import bytes_of, manifests_of

from codellama_train.console import UserError
from data_prep.pipeline import prepare
from data_prep.work import Work, unfinished_folder

ray = pytest.importorskip("ray", reason="needs the extra `cluster`")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the nodes have our packages, not this file
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[str]:
    """The address of a cluster of two nodes, which ends with the tests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    # No token: it would be written into the home folder. A short folder: Ray's sockets live there.
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": str(tmp_path_factory.mktemp("ray"))}
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    quiet = ["--include-dashboard=false", "--disable-usage-stats"]
    start = [*RAY, "start", "--node-ip-address=127.0.0.1"]
    try:
        subprocess.run([*start, "--head", f"--port={port}", "--num-cpus=2", *quiet], check=True, capture_output=True)
        subprocess.run([*start, f"--address={address}", "--num-cpus=1"], check=True, capture_output=True)
        yield address
    finally:
        ray.shutdown()
        subprocess.run([*RAY, "stop", "--force"], check=False, capture_output=True)


def test_a_cluster_gives_the_same_bytes_as_this_machine(cluster, tmp_path):
    corpus = copy_of_stdlib(tmp_path / "library", files_per_module=4)
    local = mini_recipe(tmp_path / "local", corpus)
    prepare(local)
    remote = mini_recipe(tmp_path / "remote", corpus, machine={"cluster": cluster})
    prepare(remote)
    assert ray.cluster_resources()["CPU"] == 3
    assert len(ray.nodes()) == 2
    assert bytes_of(remote.run_dir) == bytes_of(local.run_dir)
    assert manifests_of(remote.run_dir) == manifests_of(local.run_dir)


def die_once(number: int, folder: Path, *, marker: Path) -> dict[str, int]:
    """End the worker's process without a word the first time."""
    (folder / f"{number}.txt").write_text("begun")
    if number == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"process": os.getpid()}


def test_a_task_whose_process_dies_is_done_again(cluster, tmp_path):
    recipe = mini_recipe(tmp_path, tmp_path, machine={"cluster": cluster})
    work = Work(recipe, unfinished_folder(tmp_path / "stage", ""), tmp_path)
    task = partial(die_once, marker=tmp_path / "marker")
    facts = work.produce(task, list(range(6)), name=str, description="tasks", unit="tasks")
    assert (tmp_path / "marker").exists()
    assert len(facts) == 6
    assert os.getpid() not in {each["process"] for each in facts}
    assert sorted(path.name for path in work.folder.glob("*.txt")) == [f"{number}.txt" for number in range(6)]


def test_a_process_of_this_machine_that_dies_is_told_in_one_sentence(tmp_path):
    recipe = mini_recipe(tmp_path, tmp_path, machine={"workers": 2})
    work = Work(recipe, unfinished_folder(tmp_path / "stage", ""), tmp_path)
    task = partial(die_once, marker=tmp_path / "marker")
    numbers = list(range(40))  # so many that some are handed out after the death
    with pytest.raises(UserError, match=r"one of 2 worker processes died.*run the same command again"):
        work.produce(task, numbers, name=str, description="tasks", unit="tasks")
    assert len(work.produce(task, numbers, name=str, description="tasks", unit="tasks")) == 40


def test_what_a_task_says_is_wrong_is_said_here(cluster, tmp_path):
    recipe = mini_recipe(tmp_path, tmp_path, machine={"cluster": cluster})
    with pytest.raises(UserError, match="no documents"):
        prepare(recipe)
