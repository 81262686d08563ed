"""The job scripts run by a real Slurm of two nodes: order, pre-emption, crashes, fewer nodes, real ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from launching import PROJECT, read_metrics, relative_distance
from nodes import training_environment, two_nodes
from safetensors.torch import load_file
from slurm_cluster import Slurm, slurm_cluster
from small_lineage import plan, small_cluster, write_launch, write_lineage

from codellama_train import artifacts
from codellama_train.recipe.loading import as_toml, load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import origins

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    with two_nodes(folder) as nodes, slurm_cluster(folder, nodes) as cluster:
        yield cluster


@dataclass(frozen=True)
class Lineage:
    """A lineage whose launch files are written, and the cluster that is to run it."""

    slurm: Slurm
    folder: Path

    def submit(self, *options: str) -> list[str]:
        """Submit all stages as a person does, and give their jobs in the order of submission."""
        return re.findall(r"^\w+: (?:is )?job (\d+)", self.submit_says(*options), re.MULTILINE)

    def submit_says(self, *options: str) -> str:
        return self.slurm.run(["bash", str(self.folder / "launch/submit.sh"), *options])

    def run_dir(self, name: str) -> Path:
        return self.folder / "runs" / name

    def is_complete(self, name: str) -> bool:
        return (self.run_dir(name) / "final/manifest.json").is_file()

    def log(self, name: str, job: str) -> str:
        return (self.folder / f"launch/logs/{name}-{job}.log").read_text()

    def launches(self, name: str) -> list[int]:
        """Give the number of processes of every launch of a run."""
        source = json.loads((self.run_dir(name) / "source.json").read_text())
        return [launch["num_ranks"] for launch in source["launches"]]

    def states(self, jobs: list[str]) -> list[str]:
        return [self.slurm.state(job)["JobState"] for job in jobs]

    def wait_for_end(self, jobs: list[str], *, seconds: float = 240) -> list[str]:
        """Wait until nothing is left of the jobs in the queue, and give how they ended."""
        live = {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD"}
        self.slurm.wait_for(lambda: not live & set(self.states(jobs)), seconds=seconds)
        return self.states(jobs)

    def processes(self) -> list[int]:
        """Find the training processes, by the recipe in their command and the rank in their environment, in order."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                words = (place / "cmdline").read_bytes().split(b"\0")
                rank = re.search(rb"\0RANK=(\d+)\0", (place / "environ").read_bytes())
            except OSError:
                continue
            if b"scripts/train.py" in words and rank and str(self.folder).encode() in b"".join(words):
                found.append((int(rank[1]), int(place.name)))
        return [process for _, process in sorted(found)]


@pytest.fixture
def lineage(slurm, tmp_path, training_data):
    return written(slurm, tmp_path, training_data)


def written(slurm, folder: Path, data: Path, *, base_steps: int = 200, fewest_nodes: int = 1) -> Lineage:
    """Write a lineage whose first stage takes some seconds, and its launch files."""
    folder = folder / "it's odd, 100 %j"
    folder.mkdir()
    recipes = write_lineage(folder, data=data, base_steps=base_steps)
    stages = plan(recipes, ("machine.zero_stage=2", "machine.save_every_steps=20"), fewest_nodes=fewest_nodes)
    write_launch(folder / "launch", stages, small_cluster(num_nodes=2))
    return Lineage(slurm, folder)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory, training_data):
    """The same lineage trained without interruption by the launch file of one machine with two devices."""
    folder = tmp_path_factory.mktemp("untouched")
    recipes = write_lineage(folder, data=training_data, base_steps=200)
    stages = plan(recipes, ("machine.zero_stage=2", "machine.save_every_steps=20"))
    write_launch(folder / "launch", stages, small_cluster(num_nodes=1, devices_per_node=2))
    words = ["bash", str(folder / "launch/launch.sh")]
    subprocess.run(words, cwd=PROJECT, env=training_environment({}), check=True, capture_output=True, timeout=300)
    return folder / "runs"


def defers_requests(process: int) -> bool:
    """Tell whether a process has SIGUSR1 wait."""
    blocked = re.search(r"^SigBlk:\s*(\w+)$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return bool(int(blocked[1], 16) >> (signal.SIGUSR1 - 1) & 1)


def finished(run_dir: Path) -> dict[str, str]:
    """Give what a finished model consists of, by checksum."""
    return {name: facts["sha256"] for name, facts in artifacts.verify_manifest(run_dir / "final")["files"].items()}


def test_a_preempted_lineage_ends_as_an_untouched_one(lineage, untouched):
    said = lineage.submit_says()
    base, *children = jobs = lineage.submit()  # which finds them in the queue
    assert said.splitlines() == [
        f"base: job {base}",
        *(f"{n}: job {j}, after job {base}" for n, j in zip(("python", "long"), children, strict=True)),
    ]
    lineage.slurm.wait_for(lambda: [defers_requests(process) for process in lineage.processes()] == [True, True])
    lineage.slurm.run(["scancel", "--signal=USR1", base])  # while the processes still start
    lineage.slurm.wait_for(lambda: lineage.slurm.state(base)["Restarts"] == "1")
    assert "stopped as asked after step 0 of 200" in lineage.log("base", base)
    lineage.slurm.wait_for((lineage.run_dir("base") / "checkpoints/step-000020").is_dir)
    lineage.slurm.run(["scancel", "--signal=USR1", base])
    lineage.slurm.wait_for(lambda: lineage.slurm.state(base)["Restarts"] == "2")
    assert lineage.states(children) == ["PENDING", "PENDING"]
    assert lineage.wait_for_end(jobs) == ["COMPLETED"] * 3
    assert "continuing after step" in lineage.log("base", base)
    assert lineage.launches("base") == [2, 2, 2]
    for name in ("base", "python", "long"):
        assert finished(lineage.run_dir(name)) == finished(untouched / name)
        assert read_metrics(lineage.run_dir(name)) == read_metrics(untouched / name)
    assert lineage.submit_says().splitlines() == ["base: complete", "python: complete", "long: complete"]


def test_the_stop_file_ends_jobs_until_they_are_submitted_again_on_fewer_nodes(lineage, untouched):
    jobs = lineage.submit()
    lineage.slurm.wait_for((lineage.run_dir("base") / "checkpoints/step-000020").is_dir)
    (lineage.run_dir("base") / "stop").touch()
    assert lineage.wait_for_end(jobs) == ["FAILED", "CANCELLED", "CANCELLED"]
    assert "was stopped by its stop file" in lineage.log("base", jobs[0])
    jobs = lineage.submit("--nodes=1")
    assert lineage.wait_for_end(jobs) == ["COMPLETED"] * 3
    assert [lineage.launches(name) for name in ("base", "python", "long")] == [[2, 1], [1], [1]]
    assert not list(lineage.run_dir("base").glob("stop*"))
    ours, theirs = (load_file(runs / "long/final/model.safetensors") for runs in (lineage.folder / "runs", untouched))
    assert relative_distance(ours, theirs) < 0.1


def test_at_its_time_limit_a_job_saves_and_goes_on(slurm, tmp_path, training_data):
    lineage = written(slurm, tmp_path, training_data, base_steps=2_500)
    jobs = lineage.submit("--time=3", "--signal=USR1@60")  # so 120 s after its start, or up to 60 s earlier
    assert lineage.wait_for_end(jobs, seconds=600) == ["COMPLETED"] * 3
    log = lineage.log("base", jobs[0])
    assert re.search(r"stopped as asked after step [1-9]\d* of 2500", log)
    assert "continuing after step" in log


def test_a_crash_is_tried_again_a_bounded_number_of_times(lineage):
    jobs = lineage.submit()
    for restarts in range(3):
        lineage.slurm.wait_for(lambda restarts=restarts: lineage.slurm.state(jobs[0])["Restarts"] == str(restarts))
        lineage.slurm.wait_for(lambda: len(lineage.processes()) == 2)
        os.kill(lineage.processes()[1], signal.SIGKILL)
        lineage.slurm.wait_for(lambda: not lineage.processes())
    assert lineage.wait_for_end(jobs) == ["FAILED", "CANCELLED", "CANCELLED"]
    assert "ended 3 times at no checkpoint" in lineage.log("base", jobs[0])
    assert not lineage.is_complete("base")


def test_what_a_person_gave_wrongly_is_not_tried_again(slurm, tmp_path, training_data):
    lineage = written(slurm, tmp_path, training_data, fewest_nodes=2)
    jobs = lineage.submit("--nodes=1")
    assert lineage.wait_for_end(jobs) == ["FAILED", "CANCELLED", "CANCELLED"]
    assert "needs 2 nodes or more, not 1" in lineage.log("base", jobs[0])
    recipe = lineage.folder / "base.toml"
    recipe.write_text(recipe.read_text().replace("tokens_per_step = 256", "tokens_per_step = 192"))
    jobs = lineage.submit()
    assert lineage.wait_for_end(jobs) == ["FAILED", "CANCELLED", "CANCELLED"]
    assert "2 devices do not divide the 3 sequences of a step" in lineage.log("base", jobs[0])
    recipe.write_text(recipe.read_text().replace("tokens_per_step = 192", "tokens_per_step = 256"))
    lineage.run_dir("base").mkdir(parents=True)
    another = load(TrainingRecipe, recipe, ["data.seed=4"])
    (lineage.run_dir("base") / "recipe.toml").write_text(as_toml(another))
    (lineage.run_dir("base") / "source.json").write_text(json.dumps({"origins": origins(another), "launches": []}))
    jobs = lineage.submit()
    assert lineage.wait_for_end(jobs) == ["FAILED", "CANCELLED", "CANCELLED"]
    log = lineage.log("base", jobs[0])
    assert "holds a run of another recipe" in log
    assert slurm.state(jobs[0])["Restarts"] == "0"


def test_a_cancelled_job_stays_away(lineage):
    jobs = lineage.submit()
    lineage.slurm.wait_for((lineage.run_dir("base") / "checkpoints/step-000020").is_dir)
    lineage.slurm.run(["scancel", jobs[0]])
    assert lineage.wait_for_end(jobs) == ["CANCELLED"] * 3
    lineage.slurm.wait_for(lambda: not lineage.processes())
    time.sleep(10)
    assert lineage.states(jobs) == ["CANCELLED"] * 3
