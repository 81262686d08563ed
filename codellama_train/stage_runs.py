"""Train stages in order with DeepSpeed's launcher, from wherever their runs stand. Imports no torch."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from codellama_train.console import RunFailure, UserError
from codellama_train.recipe.lineage import Stage, with_ancestors
from codellama_train.run_folder import FINAL, is_whole, lock
from codellama_train.run_state import RunState, running_in, what_is_missing
from codellama_train.stopping import STOP_FILE

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
LAUNCHER = "deepspeed.launcher.runner"  # what the command `deepspeed` runs
WATCH = "import os, signal, sys; sys.stdin.read(); os.killpg(int(sys.argv[1]), signal.SIGKILL)"


def stages_to_train(stages: Sequence[Stage], states: Mapping[Stage, RunState]) -> list[Stage]:
    """Give those of the stages that are not complete, and of their ancestors those they need, parents first."""
    wanted: set[Stage] = set()

    def want(stage: Stage | None) -> None:
        if stage is not None and states[stage].kind != "complete":
            wanted.add(stage)
            want(stage.parent)

    for stage in stages:
        want(stage)
    return [stage for stage in with_ancestors(stages) if stage in wanted]


def refuse_obstacles(wanted: Sequence[Stage], states: Mapping[Stage, RunState]) -> None:
    """Refuse what a person has to settle before stages are trained: nothing is begun then."""
    stale = [stage for stage in wanted if states[stage].kind == "stale"]
    if stale:
        folders = " ".join(shlex.quote(str(stage.recipe.run_dir)) for stage in stale)
        raise UserError(
            f"{stale[0].recipe.name} is stale: {states[stale[0]].reason}. What was trained is not thrown away unasked: "
            f"undo the change (overrides hold for the recipes named alone), or remove {folders} to train anew"
        )
    for stage in wanted:
        name, state = stage.recipe.name, states[stage]
        if state.kind == "damaged":
            raise UserError(f"{name} is damaged: {state.reason}")
        if state.kind == "running":
            raise UserError(
                f"{name} is being trained, {state.reason}; wait for it, or stop it with `touch "
                f"{stage.recipe.run_dir / STOP_FILE}`"
            )
        obstacle = what_is_missing(stage)
        if obstacle is not None:
            raise UserError(f"{name} waits {obstacle}")


def train_stages(wanted: Sequence[Stage], program: Path, *, num_accelerators: int | None) -> None:
    """Train stages one after the other by `program`, which trains one; where one fails, those not made from it go on.

    Raises RunFailure naming what failed, and KeyboardInterrupt where a stage was stopped before its end.
    """
    failed: dict[Stage, int] = {}
    skipped: list[Stage] = []
    with ExitStack() as locks, _stop_requests() as request:
        for folder in sorted({stage.recipe.run_dir.parent for stage in wanted}):
            locks.enter_context(lock(folder))  # of the family: between two stages no run holds its own
        for stage in wanted:
            if stage.parent in failed or stage.parent in skipped:
                skipped.append(stage)
                continue
            if request.is_made:
                raise KeyboardInterrupt
            (stage.recipe.run_dir / STOP_FILE).unlink(missing_ok=True)  # one that a killed program left
            process = launch(stage, program, num_accelerators=num_accelerators)
            with _killed_with_us(process):
                exit_code = request.obey_while(stage, process)
            if not is_whole(stage.recipe.run_dir / FINAL):
                if exit_code == 0 or request.is_made:
                    raise KeyboardInterrupt
                failed[stage] = exit_code
    if failed:
        told = ", ".join(f"{stage.recipe.name} (exit code {code})" for stage, code in failed.items())
        without = f", and {', '.join(stage.recipe.name for stage in skipped)} not begun without it" if skipped else ""
        raise RunFailure(f"{told} failed{without}; what was said stands above, and the same command continues")


def launch(stage: Stage, program: Path, *, num_accelerators: int | None) -> subprocess.Popen[bytes]:
    """Start DeepSpeed's launcher for a stage, out of reach of the terminal's Ctrl-C, at a free port."""
    processes = [] if num_accelerators is None else ["--num_accelerators", str(num_accelerators)]
    what = [str(program), str(stage.path), *stage.overrides]
    arguments = ["--quiet", *processes, "--master_port", str(_free_port()), *what]
    sys.stdout.write(f"\n== train {stage.recipe.name}\n   {shlex.join(['deepspeed', *arguments])}\n")
    sys.stdout.flush()
    return subprocess.Popen([sys.executable, "-m", LAUNCHER, *arguments], start_new_session=True)


@contextmanager
def _killed_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let a launcher and its processes, a group of their own, not outlive this program where it is killed.

    A child sees to it, whose standard input ends when this program does, whatever ends it.
    """
    watch = [sys.executable, "-c", WATCH, str(process.pid)]
    watcher = subprocess.Popen(watch, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        watcher.kill()
        watcher.communicate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class StopRequests:
    """What a signal to this program means to the stage it trains: first to save and end, then to end at once."""

    def __init__(self) -> None:
        self.is_made = False
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_file = Path()

    def obey_while(self, stage: Stage, process: subprocess.Popen[bytes]) -> int:
        """Wait for a stage's launcher and give its exit code; signals meanwhile are passed on."""
        self._process, self._stop_file = process, stage.recipe.run_dir / STOP_FILE
        if self.is_made:
            self._ask()
        exit_code = process.wait()
        self._process = None
        if self.is_made:
            self._stop_file.unlink(missing_ok=True)  # of one that ended without having seen it
            await_release(stage.recipe.run_dir)
        return exit_code

    def take(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        if self._process is None or not self.is_made:
            self.is_made = True
            self._ask()
        else:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _ask(self) -> None:
        if self._process is not None:
            sys.stderr.write(f"\nstopping {self._stop_file.parent} after its last update; once more kills it\n")
            self._stop_file.parent.mkdir(parents=True, exist_ok=True)
            self._stop_file.touch()


def await_release(run_dir: Path, *, seconds: float = 10.0) -> None:
    """Wait until nobody holds a run folder any more: what is killed is gone a moment after its launcher."""
    deadline = time.monotonic() + seconds
    while running_in(run_dir) is not None and time.monotonic() < deadline:
        time.sleep(0.05)


@contextmanager
def _stop_requests() -> Iterator[StopRequests]:
    """Give what signals to this program go to; one that is ignored (nohup) stays ignored."""
    request = StopRequests()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, request.take)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
