"""Tasks of a stage: a finished one is never done again, and nothing unfinished or damaged counts as finished."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest
from preparing import mini_recipe

from codellama_train import artifacts
from codellama_train.console import UserError
from data_prep.work import Work, finished_files, unfinished_folder
from data_prep.workers import end_idle_processes

NUMBERS = list(range(6))


def write_square(number: int, folder: Path, *, log: Path, fails_at: int | None = None) -> dict[str, int]:
    """Write one file, note that it was done; a task may leave half of its files behind and fail."""
    (folder / f"{number}.txt").write_text(str(number**2))
    if number == fails_at:
        raise UserError("enough")
    with log.open("a") as file:
        file.write(f"{number}\n")
    return {"square": number**2}


def work_in(folder: Path, workers: int = 1) -> Work:
    recipe = mini_recipe(folder, folder, machine={"workers": workers})
    return Work(recipe, unfinished_folder(folder / "stage", "same"), folder)


def produce(work: Work, log: Path, into: str = "", fails_at: int | None = None) -> list[dict[str, int]]:
    task = partial(write_square, log=log, fails_at=fails_at)
    return work.produce(task, NUMBERS, name=str, description="squares", unit="numbers", into=into)


def done(log: Path) -> list[int]:
    return sorted(map(int, log.read_text().split()))


@pytest.mark.parametrize("workers", [1, 3])
def test_facts_come_in_the_order_of_the_tasks(tmp_path, workers):
    facts = produce(work_in(tmp_path, workers), tmp_path / "log")
    assert facts == [{"square": number**2} for number in NUMBERS]
    assert done(tmp_path / "log") == NUMBERS


def test_a_stage_that_failed_goes_on_where_it_stopped(tmp_path):
    with pytest.raises(UserError, match="enough"):
        produce(work_in(tmp_path), tmp_path / "log", fails_at=3)
    assert done(tmp_path / "log") == [0, 1, 2]
    assert produce(work_in(tmp_path), tmp_path / "log") == [{"square": number**2} for number in NUMBERS]
    assert done(tmp_path / "log") == NUMBERS


@pytest.mark.parametrize("damage", ["torn", "lost", "changed"])
def test_a_file_that_is_not_what_its_receipt_says_is_made_again(tmp_path, damage):
    work = work_in(tmp_path)
    produce(work, tmp_path / "log")
    path = work.folder / "4.txt"
    if damage == "lost":
        path.unlink()
    else:
        path.write_text("1" if damage == "torn" else "17")
    (tmp_path / "log").unlink()
    produce(work, tmp_path / "log")
    assert done(tmp_path / "log") == [4]
    assert path.read_text() == "16"


def test_a_file_without_receipt_is_made_again(tmp_path):
    work = work_in(tmp_path)
    (work.folder / "2.txt").write_text("from a killed run")
    produce(work, tmp_path / "log")
    assert (work.folder / "2.txt").read_text() == "4"


def test_another_fingerprint_starts_afresh(tmp_path):
    produce(work_in(tmp_path), tmp_path / "log")
    folder = unfinished_folder(tmp_path / "stage", "other")
    assert not list(folder.glob("*.txt"))


def test_scratch_and_receipts_are_not_part_of_the_finished_stage(tmp_path):
    work = work_in(tmp_path)
    produce(work, tmp_path / "log", into=".scratch")
    produce(work, tmp_path / "log", into="kept")
    (work.folder / "note").write_text("by hand")
    files = finished_files(work.folder)
    assert sorted(files) == [*(f"kept/{number}.txt" for number in NUMBERS), "note"]
    assert sorted(path.name for path in work.folder.iterdir()) == ["kept", "note"]
    for name, facts in files.items():
        assert facts["sha256"] == artifacts.sha256_of(work.folder / name)


def test_what_was_remembered_stays_whatever_changes_outside(tmp_path):
    names = ["a", "b\udc80"]  # a name that is no text
    assert work_in(tmp_path).remember("plan", lambda: names) == names
    assert work_in(tmp_path).remember("plan", list) == names


def process_of(number: int) -> int:
    """Tell which process did a task; a negative number is refused."""
    if number < 0:
        raise UserError("negative")
    time.sleep(0.2)
    return os.getpid()


def test_processes_wait_for_the_next_work_of_a_stage_unless_one_failed(tmp_path):
    work = work_in(tmp_path, workers=2)

    def processes(numbers: list[int]) -> set[int]:
        return set(work.map(process_of, numbers, description="processes", unit="numbers"))

    first = processes([1, 2, 3, 4])
    assert os.getpid() not in first
    second = processes([1, 2, 3, 4])
    assert second & first
    with pytest.raises(UserError, match="negative"):
        processes([1, -1, 3, 4])
    assert processes([1, 2, 3, 4]).isdisjoint(first | second)
    end_idle_processes()
