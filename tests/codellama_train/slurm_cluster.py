"""A real Slurm on two nodes: its controller and a daemon a node, each in the node's namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from nodes import Node

DAEMONS = ("munged", "slurmctld", "slurmd")

# One device a node, which is none: Slurm counts it as a GPU and the training takes the processor.
CONFIGURATION = """
ClusterName=two
SlurmctldHost=node-a
SlurmUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SlurmctldTimeout=30
KillWait=10
MinJobAge=3600
ReturnToService=2
MpiDefault=none
GresTypes=gpu
NodeName=node-a,node-b CPUs=1 RealMemory=2000 Gres=gpu:1
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
"""


@dataclass(frozen=True)
class Slurm:
    """A running cluster of two nodes of one device."""

    folder: Path
    nodes: Sequence[Node]

    def run(self, words: Sequence[str]) -> str:
        """Run a command on the first node, as a person on a login node."""
        return self.nodes[0].run(words, SLURM_CONF=str(self.folder / "slurm.conf"))

    def state(self, job: str) -> dict[str, str]:
        """Give what the controller knows of a job."""
        shown = self.run(["scontrol", "show", "job", job, "--oneliner"])
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    def wait_for(self, condition: Callable[[], bool], *, seconds: float = 180) -> None:
        """Wait until something holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.run(["squeue", "--all"]) + self.run(["scontrol", "show", "jobs"])
            time.sleep(0.2)


@contextmanager
def slurm_cluster(folder: Path, nodes: Sequence[Node]) -> Iterator[Slurm]:
    """Start the daemons; they end with the test."""
    missing = [name for name in DAEMONS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"Slurm is not installed: there is no {', '.join(missing)} (apt-get install slurm-wlm)")
    (folder / "state").mkdir()
    (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder))
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    folder.chmod(0o755)
    first = nodes[0]
    place = f"--socket={folder}/munge.socket --pid-file={folder}/munge.pid --log-file={folder}/munge.log"
    seed = f"--seed-file={folder}/munge.seed --key-file={key}"
    daemons = [(first, ["munged", "--foreground", "--force", *place.split(), *seed.split()])]
    daemons += [(first, ["slurmctld", "-D"])] + [(node, ["slurmd", "-D", "-N", node.name]) for node in nodes]
    processes = []
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    for node, words in daemons:
        output = (folder / f"{words[0]}-{node.name}.output").open("w")
        processes.append(
            subprocess.Popen(node.command(words), env=environment, stdout=output, stderr=output, start_new_session=True)
        )
        if words[0] == "munged":
            time.sleep(1)  # the others start by asking it
    slurm = Slurm(folder, nodes)
    try:
        wait_for_nodes(first, environment)
        yield slurm
    finally:
        slurm.run(["scancel", "--user=root", "--state=PENDING"])
        slurm.run(["scancel", "--user=root"])
        slurm.wait_for(lambda: not slurm.run(["squeue", "--noheader"]), seconds=60)
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=30)


def wait_for_nodes(first: Node, environment: Mapping[str, str]) -> None:
    """Wait until the controller answers and has seen both nodes."""
    end = time.monotonic() + 30
    words = first.command(["sinfo", "--noheader", "--format=%D %T"])
    while True:
        seen = subprocess.run(words, env=environment, check=False, capture_output=True, text=True)
        if seen.stdout.strip() == "2 idle":
            return
        assert time.monotonic() < end, seen
        time.sleep(0.2)
