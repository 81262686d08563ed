"""What happens to a real run when a number, a disk, a port or a peer goes wrong: it says so, and keeps what it had."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time

import pytest
from launching import PROJECT, read_metrics, train, write_recipe
from safetensors.torch import load_file, save_file

from codellama_train import artifacts
from codellama_train.agreement import describe_start
from codellama_train.console import UserError
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.rendezvous import require_free_port
from codellama_train.run_folder import first_difference
from codellama_train.tokens.batches import LaneBatches, open_mixture

TRACEBACK = "Traceback (most recent call last)"


@pytest.fixture
def recipe(tmp_path, training_data):
    return write_recipe(tmp_path / "mini.toml", runs=tmp_path / "runs", data=training_data)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def train_apart(recipe, *overrides_by_rank, limit_of_last=None, program=("scripts/train.py",)):
    """Start one process per list of overrides, by hand, as on machines of their own; give exit codes and outputs."""
    shared = {"WORLD_SIZE": str(len(overrides_by_rank)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = []
    for rank, overrides in enumerate(overrides_by_rank):
        is_limited = limit_of_last is not None and rank == len(overrides_by_rank) - 1

        def limit_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_of_last, limit_of_last))

        environment = {"RANK": str(rank), "LOCAL_RANK": str(rank), "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
        processes.append(
            subprocess.Popen(
                [sys.executable, *program, str(recipe), *overrides],
                cwd=PROJECT,
                env={**os.environ, **shared, **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                preexec_fn=limit_files if is_limited else None,
            )
        )
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def poison(base, token, *, value, rms_norm_eps=1e-5):
    """Give one token an embedding that breaks whatever sees it."""
    weights = load_file(base / "model.safetensors")
    weights["model.embed_tokens.weight"][token] = value
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "rms_norm_eps": rms_norm_eps}))
    artifacts.write_manifest(base, {"kind": "model"})


def open_first_layer(base):
    """Let embeddings through the first layer as they are, so that they break the second, behind trained weights."""
    weights = load_file(base / "model.safetensors")
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        weights[f"model.layers.0.{name}.weight"].zero_()
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture
def poisoned(tmp_path, tokenizer, save_model, recipe):
    """A recipe without infilling from a base to be poisoned: the base, a token, the step it comes in, and where."""
    base = save_model(tmp_path / "base", tokenizer, seed=1)
    text = recipe.read_text()
    start, end = text.index("[model.architecture]"), text.index("[data]\n")
    text = text[:start] + text[end:].replace("[data.infilling]\nrate = 0.9\n", "")
    recipe.write_text(text.replace("[model]", f'[model]\ninit_from = "{base}"'))
    loaded = load(TrainingRecipe, recipe)
    mixture = open_mixture(loaded, tokenizer)
    batches = LaneBatches(mixture, rank=0, num_ranks=1)
    seen = set(batches.next_step().input_ids.flatten().tolist())
    for step in range(2, loaded.steps):
        batch = batches.next_step()
        new = set(batch.input_ids.flatten().tolist()) - seen
        seen |= new
        if step >= 3 and new:
            break
    token = min(new)
    rows = [row for row in range(len(batch.input_ids)) if token in batch.input_ids[row]]
    around = {name_of(mixture, segment.origin) for row in rows for segment in batch.segments[row]}
    holders = {
        name_of(mixture, segment.origin)
        for row in rows
        for segment in batch.segments[row]
        if holds(batch.input_ids[row], segment, token)
    }
    return base, token, step, len(rows), holders, around


def name_of(mixture, origin):
    return mixture.sources[origin.source].shards.document_id(origin.document).hex()


def holds(row, segment, token):
    return token in row[segment.start : segment.stop]


LORA = """
[lora]
rank = 4
alpha = 8
target_modules = ["q_proj"]
"""
OFFLOADED = ["machine.offload.optimizer=cpu"]


@pytest.mark.parametrize(
    ("kind", "overrides", "is_lora"),
    [
        ("loss", [], False),
        ("gradient", [], False),
        pytest.param("loss", ["machine.sequence_parallel=2"], False, marks=pytest.mark.slow),
        pytest.param("gradient", ["machine.sequence_parallel=2"], False, marks=pytest.mark.slow),
        *(
            pytest.param("gradient", [f"machine.zero_stage={stage}", *more], is_lora, marks=pytest.mark.slow)
            for stage in (1, 2, 3)
            for more, is_lora in (([], False), ([], True), (OFFLOADED, False))
        ),
    ],
)
def test_what_is_not_finite_stops_the_run_before_the_update(kind, overrides, is_lora, poisoned, recipe, tmp_path):
    base, token, step, num_rows, holders, around = poisoned
    if is_lora:
        recipe.write_text(recipe.read_text() + LORA)
        open_first_layer(base)
    if kind == "loss":
        poison(base, token, value=float("nan"))
    else:  # the derivative of the first norm overflows, its value does not
        poison(base, token, value=1e-15, rms_norm_eps=0.0)
    saving = ["machine.save_every_steps=1", "machine.keep_checkpoints=50"]
    output = train(recipe, [*saving, *overrides], exit_code=1)
    assert f"error: the {kind} of step {step} is not finite" in output, output[-3000:]
    assert TRACEBACK not in output
    saved = sorted((tmp_path / "runs/mini/checkpoints").glob("step-*"))
    assert [path.name for path in saved] == [f"step-{number:06d}" for number in range(1, step)]
    named = [line.split()[3].rstrip(",") for line in output.splitlines() if line.startswith("  rank ")]
    assert f" {num_rows} of 4 sequences; the weights after step {step - 1} are untouched" in output
    assert holders <= set(named) <= around


STOPPED_BY_CALL = """
import itertools, sys
from pathlib import Path
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.stopping import StopRequest
from codellama_train.train import train
calls = itertools.count(1)
StopRequest.is_made = lambda self: next(calls) == 4 * 5 + 3  # once a micro-step: the third of step 6
train(load(TrainingRecipe, Path(sys.argv[1])))
"""


def test_a_run_stopped_within_a_step_resumes_to_the_same_weights(recipe, tmp_path):
    def run(*command):
        subprocess.run([sys.executable, *command], cwd=PROJECT, check=True, capture_output=True)

    stopped = tmp_path / "stopped.toml"
    stopped.write_text(recipe.read_text())
    run("-c", STOPPED_BY_CALL, str(stopped))
    assert [path.name for path in sorted((tmp_path / "runs/stopped/checkpoints").iterdir())][-1] == "step-000005"
    for path in (recipe, stopped):
        run("scripts/train.py", str(path))
    records, weights = zip(*(results(tmp_path / "runs" / name) for name in ("mini", "stopped")), strict=True)
    assert records[0] == records[1]
    assert weights[0] == weights[1]


def results(run_dir):
    return read_metrics(run_dir), artifacts.sha256_of(run_dir / "final/model.safetensors")


def test_processes_that_were_started_differently_are_refused(recipe, tmp_path):
    exit_codes, outputs = train_apart(recipe, [], ["machine.zero_stage=1"])
    host = socket.gethostname()
    assert exit_codes == [2, 2], outputs
    assert f"recipe.machine.zero_stage is 2 on rank 0 ({host}) and 1 on rank 1 ({host})" in outputs[0]
    assert TRACEBACK not in "".join(outputs)
    assert not (tmp_path / "runs").exists()


def test_a_start_tells_shards_and_code_apart(recipe, training_data):
    before = describe_start(load(TrainingRecipe, recipe))
    manifest = training_data / "shards/code/train/manifest.json"
    stored = manifest.read_bytes()
    try:
        manifest.write_bytes(stored + b"\n")
        after = describe_start(load(TrainingRecipe, recipe))
    finally:
        manifest.write_bytes(stored)
    assert first_difference(before, after).startswith("origin.data.sources.code.shards is ")
    assert first_difference(before, {**before, "code": "0"}).startswith("code is ")


@pytest.fixture
def small_disk(mount_disk):
    """A file system that holds the start of a run, one checkpoint, and no second one."""
    return mount_disk("1100k")


def test_a_full_disk_leaves_the_last_whole_checkpoint(small_disk, training_data, tmp_path):
    recipe = write_recipe(tmp_path / "mini.toml", runs=small_disk, data=training_data)
    output = train(recipe, exit_code=2)
    assert "the disk will become full: 2 more checkpoints of about " in output, output[-3000:]
    assert "error: step 8 could not be saved: the disk is too full; a checkpoint needs about " in output, output[-3000:]
    assert "The newest one there is step-000004" in output
    assert TRACEBACK not in output
    checkpoints = small_disk / "mini/checkpoints"
    assert [path.name for path in checkpoints.iterdir()] == ["step-000004"]
    artifacts.verify_manifest(checkpoints / "step-000004")


def test_a_write_that_fails_in_one_process_ends_all_of_them(recipe, tmp_path):
    exit_codes, outputs = train_apart(recipe, [], [], limit_of_last=100_000)
    assert exit_codes == [2, 2], outputs
    assert "error: step 4 could not be saved: rank 1: " in outputs[0]
    assert "The newest one there is none" in outputs[0]
    assert TRACEBACK not in "".join(outputs)
    assert not list((tmp_path / "runs/mini/checkpoints").iterdir())


HANGS_ON_RANK_1 = """
import itertools, os, sys, time
from pathlib import Path
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.stopping import StopRequest
from codellama_train.train import train
from codellama_train.watchdog import Watchdog

def wait_for_ever(request):
    while os.environ["RANK"] == "1" and next(calls) >= 12:
        time.sleep(1)
    return False

calls = itertools.count()
StopRequest.is_made = wait_for_ever
Watchdog.__init__.__kwdefaults__["least_seconds"] = 5.0
train(load(TrainingRecipe, Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_where_one_process_hangs_all_of_them_say_where_they_stand(recipe, tmp_path):
    exit_codes, outputs = train_apart(recipe, [], [], program=("-c", HANGS_ON_RANK_1))
    assert exit_codes == [1, 1], outputs
    assert "error: no micro-step has finished for " in outputs[0]
    stacks = [(tmp_path / f"runs/mini/stacks-rank-{rank}.txt").read_text() for rank in (0, 1)]
    assert "in wait_for_ever" in stacks[1]
    assert "in wait_for_ever" not in stacks[0]
    assert "in all_reduce" in stacks[0]


def test_a_taken_port_is_refused_at_once(recipe):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_accelerators", "2"]
        started = time.monotonic()
        result = subprocess.run(
            [*command, "--master_port", str(port), "scripts/train.py", str(recipe)],
            cwd=PROJECT,
            env={**os.environ, "DS_ACCELERATOR": "cpu"},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert result.returncode == 2
    assert f"error: port {port}, where the processes of this launch are to meet, is taken" in result.stderr
    assert TRACEBACK not in result.stdout + result.stderr
    assert time.monotonic() - started < 60


def test_a_port_is_free_that_nobody_listens_at(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        monkeypatch.setenv("MASTER_PORT", str(port))
        monkeypatch.setenv("RANK", "1")
        require_free_port()  # its first process listens there
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(UserError, match=f"--master_port {port + 1}"):
            require_free_port()
    accepted.close()  # the server's side closes first, and so keeps the port in TIME_WAIT
    client.close()
    require_free_port()
