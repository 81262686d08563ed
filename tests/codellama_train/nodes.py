"""Two machines out of one: network, host name and host list of their own, a shared file system, a wire between them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from launching import PROJECT


@dataclass(frozen=True)
class Node:
    """A machine: its host name, its address, and the process that holds its namespaces."""

    name: str
    address: str
    keeper: int

    def command(self, words: Sequence[str]) -> list[str]:
        """Give the command that runs words on this machine."""
        return ["nsenter", f"--target={self.keeper}", "--net", "--uts", "--mount", f"--wd={PROJECT}", *words]

    def start(self, words: Sequence[str], **environment: str) -> subprocess.Popen[str]:
        """Start words here, in a process group of their own, as a person with an empty environment of training."""
        return subprocess.Popen(
            self.command(words),
            env=training_environment(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, words: Sequence[str], **environment: str) -> str:
        """Run words here to their end and give what they print; they must succeed."""
        process = self.start(words, **environment)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-4000:]
        return output


def training_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Give what a process needs to train on processors; the files under test know nothing of it."""
    return {
        **os.environ,
        "DS_ACCELERATOR": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(PROJECT),
        **more,
    }


@contextmanager
def two_nodes(folder: Path, *, hidden: Sequence[Path] = ()) -> Iterator[list[Node]]:
    """Make two machines; in place of `hidden` folders they see empty ones, under `folder`, which the two share."""
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"two nodes on one machine need root and {', '.join(missing) or 'nothing else'}")
    names, addresses = ("node-a", "node-b"), ("10.231.0.1", "10.231.0.2")
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for a, n in zip(addresses, names, strict=True)))
    keepers: list[subprocess.Popen[str]] = []
    try:
        for name in names:
            keepers.append(start_keeper(name, hosts=hosts, hidden=hidden, folder=folder))
        nodes = [Node(n, a, keeper.pid) for n, a, keeper in zip(names, addresses, keepers, strict=True)]
        wire(nodes)
        yield nodes
    finally:
        for keeper in keepers:
            keeper.kill()  # with the last process in them, the namespaces and the wire between them go
            keeper.wait()


def start_keeper(name: str, *, hosts: Path, hidden: Sequence[Path], folder: Path) -> subprocess.Popen[str]:
    """Start the process that holds a machine's namespaces open."""
    lines = [f"hostname {name}", f"mount --bind {hosts} /etc/hosts"]
    for place in hidden:
        instead = folder / "hidden" / place.name
        instead.mkdir(parents=True, exist_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        lines.append(f"mount --bind {instead} {place}")
    lines += ["echo ready", "exec sleep infinity"]
    keeper = subprocess.Popen(
        ["unshare", "--net", "--uts", "--mount", "sh", "-ec", "\n".join(lines)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert keeper.stdout
    assert keeper.stderr
    if keeper.stdout.readline() != "ready\n":
        pytest.skip(f"namespaces are not permitted here: {keeper.stderr.read().strip()}")
    return keeper


def wire(nodes: Sequence[Node]) -> None:
    """Lay a wire between two machines, eth0 at both ends."""
    first, second = nodes
    ends = ["name", "eth0", "netns", str(first.keeper), "type", "veth"]
    peer = ["peer", "name", "eth0", "netns", str(second.keeper)]
    subprocess.run(["ip", "link", "add", *ends, *peer], check=True)
    for node in nodes:
        for command in (f"addr add {node.address}/24 dev eth0", "link set eth0 up", "link set lo up"):
            subprocess.run(node.command(["ip", *command.split()]), check=True)
