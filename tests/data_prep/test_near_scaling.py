"""The same bytes whatever the workers, the memory and the interruptions."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from near import deduplicated, document, real_texts, write_run

from data_prep import deduplicate


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A run of real and altered files in many parts, of two sources."""
    texts = [*real_texts(1), *real_texts(2)]
    documents = [
        document(text, path=str(number), source=("code", "related")[number % 2]) for number, text in enumerate(texts)
    ]
    return write_run(tmp_path_factory.mktemp("scaling"), documents, per_part=10)


@pytest.fixture(scope="module")
def expected(run_dir) -> dict[str, str]:
    """What one worker with plenty of memory makes."""
    deduplicated(run_dir)
    return bytes_of(run_dir)


def bytes_of(run_dir: Path) -> dict[str, str]:
    files = sorted(path for path in (run_dir / "deduplicate").rglob("*") if path.is_file())
    return {str(path.relative_to(run_dir)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def counted_tasks(monkeypatch) -> dict[str, int]:
    """Count the tasks of each step of the stages to come."""
    counts: dict[str, int] = {}
    produce = deduplicate.Work.produce

    def counted(self, function, tasks, **facts):
        counts[facts.get("into", "")] = len(tasks)
        return produce(self, function, tasks, **facts)

    monkeypatch.setattr(deduplicate.Work, "produce", counted)
    return counts


def test_any_number_of_workers_gives_the_same_bytes(run_dir, expected, monkeypatch):
    counts = counted_tasks(monkeypatch)
    monkeypatch.setattr(
        "data_prep.near_duplicates.candidates.ENTRIES_PER_TASK", 4_000
    )  # so that there is work for several
    monkeypatch.setattr("data_prep.near_duplicates.verification.PAIRS_PER_TASK", 500)
    for workers in (2, 4):
        deduplicated(run_dir, workers=workers)
        assert min(counts["bands"], counts[".pairs.found"], counts[".verified"]) >= 3, counts
        assert bytes_of(run_dir) == expected


def test_a_budget_that_is_too_small_for_anything_gives_the_same_bytes(run_dir, expected, monkeypatch):
    counts = counted_tasks(monkeypatch)
    monkeypatch.setattr("data_prep.near_duplicates.candidates.ENTRIES_PER_TASK", 1)
    monkeypatch.setattr(deduplicate, "LEAST_SHARE_BYTES", 2_000)
    deduplicated(run_dir, memory_megabytes=1)
    for scratch in (".ranks", ".exact", ".pairs.found", ".pairs"):
        assert counts[scratch] > 3 * (42 if scratch == ".pairs.found" else 1), (scratch, counts)
    assert bytes_of(run_dir) == expected


PROGRAM = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    import near
    from data_prep import deduplicate
    if __name__ == "__main__":
        deduplicate.LEAST_SHARE_BYTES = int(sys.argv[2])
        near.deduplicated(Path({run_dir!r}), workers=int(sys.argv[1]), memory_megabytes=1)
"""


@pytest.mark.parametrize("step", [".exact", ".pairs.found", ".verified"])
def test_a_killed_stage_goes_on_with_other_workers_and_memory(run_dir, expected, tmp_path, step):
    program = tmp_path / "deduplicate_it.py"
    program.write_text(textwrap.dedent(PROGRAM.format(tests=str(Path(__file__).parent), run_dir=str(run_dir))))
    shutil.rmtree(run_dir / "deduplicate", ignore_errors=True)
    receipts = run_dir / ".deduplicate.partial" / ".receipts" / step
    killed = subprocess.Popen([sys.executable, program, "2", "100_000"], start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(receipts.glob("*")) and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (run_dir / "deduplicate").exists()
    subprocess.run([sys.executable, program, "1", "60_000"], check=True)
    assert bytes_of(run_dir) == expected
