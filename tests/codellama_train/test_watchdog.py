"""A process that hangs ends itself and says where; one that is merely slow does not."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from codellama_train.watchdog import Watchdog

PROGRAM = """
import sys, threading, time
from pathlib import Path
from codellama_train.watchdog import Watchdog

def wait_for_ever():
    time.sleep(60)

watchdog = Watchdog(Path(sys.argv[1]), rank=3, num_ignored=2, least_seconds=0.5, grace_seconds=0.1)
for _ in range(6):
    time.sleep(0.02)
    watchdog.beat()
with watchdog.suspended():
    time.sleep(1.5)
{ending}
"""


def run(tmp_path, project, ending):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(ending=ending), str(tmp_path)],
        cwd=project,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_hanging_process_writes_the_stacks_of_all_threads_and_exits(tmp_path, project):
    ending = "threading.Thread(target=sys.stdin.read, name='reader', daemon=True).start()\nwait_for_ever()"
    result = run(tmp_path, project, ending)
    assert result.returncode == 1
    stacks = (tmp_path / "stacks-rank-3.txt").read_text()
    assert "in wait_for_ever" in stacks
    assert "in _watch" in stacks
    assert stacks.startswith("no micro-step has finished for 0.")
    assert str(tmp_path / "stacks-rank-3.txt") in result.stderr


def test_a_process_that_goes_on_or_has_stopped_watching_lives(tmp_path, project):
    ending = (
        "for _ in range(4):\n    time.sleep(0.3)\n    watchdog.beat()\nwatchdog.stop()\ntime.sleep(1.5)\nprint('done')"
    )
    result = run(tmp_path, project, ending)
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr
    assert not (tmp_path / "stacks-rank-3.txt").exists()


@pytest.fixture
def watchdog(tmp_path):
    watchdog = Watchdog(tmp_path, rank=0, num_ignored=2, least_seconds=60)
    yield watchdog
    watchdog.stop()


def test_the_limit_follows_the_median_and_the_longest(watchdog, monkeypatch):
    def beat_after(*durations):
        for seconds in durations:
            now[0] += seconds
            watchdog.beat()

    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    beat_after(900, 900, 1)
    assert watchdog.limit_seconds() is None  # two steps are left out, two more are needed
    beat_after(1)
    assert watchdog.limit_seconds() == 60
    beat_after(8, 8, 8)
    assert watchdog.limit_seconds() == pytest.approx(80)
    beat_after(50)
    assert watchdog.limit_seconds() == pytest.approx(150)
