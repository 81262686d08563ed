"""A request to stop, from the first moment of a process to the end of its run."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from codellama_train.stopping import SIGNALS, StopRequest

EARLY = """
import os, pathlib, signal, subprocess, sys
from codellama_train.stopping import StopRequest, defer_requests
defer_requests()
os.kill(os.getpid(), signal.SIGUSR1)
child = subprocess.Popen(["sleep", "0.2"])
child.send_signal(signal.SIGUSR1)  # as Slurm does, to all that belongs to a job
request = StopRequest(pathlib.Path(sys.argv[1]))
print(request.is_made(), child.wait())
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.fixture(autouse=True)
def own_signals():
    """Give this process its own answers to signals back."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_request_that_comes_while_the_process_starts_is_remembered(tmp_path):
    done = subprocess.run([sys.executable, "-c", EARLY, str(tmp_path)], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "0"]


def test_an_obeyed_stop_file_is_put_aside_until_the_run_is_complete(tmp_path):
    request = StopRequest(tmp_path)
    (tmp_path / "stop").touch()
    assert request.is_made()
    request.settle()
    assert not request.is_made()
    assert [path.name for path in tmp_path.iterdir()] == ["stopped"]
    request.settle()  # where only a signal came
    (tmp_path / "stop").touch()
    request.forget()
    assert not list(tmp_path.iterdir())
