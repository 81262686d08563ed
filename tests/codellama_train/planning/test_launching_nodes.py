"""The written files, run as they are on two nodes with a network of their own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from launching import PROJECT, read_metrics
from nodes import training_environment, two_nodes
from small_lineage import plan, small_cluster, write_launch, write_lineage

from codellama_train import artifacts

HOSTS = ("node-a", "node-b")


def odd(tmp_path: Path) -> Path:
    """Make a folder whose name every shell has to be told apart from a command."""
    folder = tmp_path / "it's $odd"
    folder.mkdir()
    return folder


def finished(run_dir: Path) -> dict[str, str]:
    """Give what a finished model consists of, by checksum."""
    return {name: facts["sha256"] for name, facts in artifacts.verify_manifest(run_dir / "final")["files"].items()}


def launches(run_dir: Path) -> list[int]:
    """Give the number of processes of every launch of a run."""
    return [launch["num_ranks"] for launch in json.loads((run_dir / "source.json").read_text())["launches"]]


def test_two_nodes_without_ssh_train_together(tmp_path, training_data):
    folder = odd(tmp_path)
    base, *_ = write_lineage(folder, data=training_data)
    write_launch(folder / "launch", plan([base], ("machine.zero_stage=3",)), small_cluster(num_nodes=2), hosts=HOSTS)
    with two_nodes(tmp_path) as nodes:
        script = ["bash", str(folder / "launch/launch_node.sh")]
        processes = [node.start([*script, str(place)]) for place, node in enumerate(nodes)]
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "step 12/12" in outputs[0]
    assert "step 12/12" not in outputs[1]
    assert launches(folder / "runs/base") == [2]
    assert read_metrics(folder / "runs/base")[-1]["step"] == 12
    assert finished(folder / "runs/base")


def test_a_runs_folder_that_is_not_shared_is_refused_at_the_start(tmp_path, training_data):
    base, *_ = write_lineage(tmp_path, data=training_data)
    write_launch(tmp_path / "launch", plan([base], ("machine.zero_stage=3",)), small_cluster(num_nodes=2), hosts=HOSTS)
    (tmp_path / "runs").mkdir()
    with two_nodes(tmp_path) as nodes:
        subprocess.run(nodes[1].command(["mount", "-t", "tmpfs", "none", str(tmp_path / "runs")]), check=True)
        script = ["bash", str(tmp_path / "launch/launch_node.sh")]
        processes = [node.start([*script, str(place)]) for place, node in enumerate(nodes)]
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], outputs
    assert f"on node-b: {tmp_path}/runs/base is not the folder of that name on the first machine" in outputs[0]
    assert "step 3/12" not in outputs[0]
    assert not list((tmp_path / "runs/base").glob(".launch*"))


@contextmanager
def ssh_servers(folder: Path, nodes, home: Path):
    """Let root of each node reach the others without a password, by keys that only they see."""
    missing = [name for name in ("pdsh", "ssh", "sshd", "ssh-keygen") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (apt-get install pdsh openssh-server)")
    Path("/run/sshd").mkdir(exist_ok=True)
    place = folder / "hidden" / home.name
    for name in ("id_ed25519", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)], check=True)
    shutil.copy(place / "id_ed25519.pub", place / "authorized_keys")
    (place / "config").write_text("StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n")
    options = [f"HostKey={place}/host_key", "UsePAM=no", "StrictModes=no", "PermitRootLogin=yes", "PidFile=none"]
    words = [shutil.which("sshd"), "-D", "-e", "-f", "/dev/null"]
    servers = [node.start([*words, *(f"-o{option}" for option in options)]) for node in nodes]
    try:
        for node in nodes:
            wait_for_port(node)
        yield
    finally:
        for server in servers:
            server.terminate()
            server.wait()


def wait_for_port(node) -> None:
    """Wait until the node's ssh server answers."""
    end = time.monotonic() + 20
    while subprocess.run(node.command(["ssh", node.name, "true"]), check=False, capture_output=True).returncode:
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.slow
def test_two_nodes_over_ssh_train_a_lineage_as_one_machine_does(tmp_path, training_data):
    folder, home = odd(tmp_path), Path.home() / ".ssh"
    recipes = write_lineage(folder, data=training_data)[:2]
    write_launch(folder / "launch", plan(recipes, ("machine.zero_stage=2",)), small_cluster(num_nodes=2), hosts=HOSTS)
    # What DeepSpeed does not hand on by itself stands in its file, whose place this test alone moves.
    handed_on = {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    (tmp_path / "handed_on").write_text("".join(f"{key}={value}\n" for key, value in handed_on.items()))
    with two_nodes(tmp_path, hidden=[home]) as nodes, ssh_servers(tmp_path, nodes, home):
        output = nodes[0].run(["bash", str(folder / "launch/launch.sh")], DS_ENV_FILE=str(tmp_path / "handed_on"))
    assert "node-a: " in output
    assert "node-b: " in output
    runs = folder / "runs"
    assert [launches(runs / name) for name in ("base", "python")] == [[2], [2]]
    alone = tmp_path / "alone"
    alone.mkdir()
    recipes = write_lineage(alone, data=training_data)[:2]
    cluster = small_cluster(num_nodes=1, devices_per_node=2)
    write_launch(alone / "launch", plan(recipes, ("machine.zero_stage=2",)), cluster)
    run_here(alone / "launch/launch.sh")
    for name in ("base", "python"):
        assert finished(alone / "runs" / name) == finished(runs / name)
        assert read_metrics(alone / "runs" / name) == read_metrics(runs / name)
    assert "python is complete" in run_here(alone / "launch/launch.sh")


def run_here(script: Path) -> str:
    """Run a script in the project's root as a person does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        environment = training_environment({"MASTER_PORT": str(probe.getsockname()[1])})
    words = ["bash", str(script)]
    done = subprocess.run(words, cwd=PROJECT, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
