"""Going on from a saved place in the data: whether it is the same place, how fast, and how many bytes it takes."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

import numpy as np

from codellama_train import artifacts
from codellama_train.tokens.batches import LaneBatches
from codellama_train.tokens.lane_state import LaneState
from codellama_train.tokens.lanes import Mixture
from codellama_train.tokens.mixture import MixtureSource
from codellama_train.tokens.shards import ShardSet
from codellama_train.tokens.tokenizer import Tokenizer

SEED, INFILLING_RATE = 7, 0.9
ROWS_COMPARED, REPEATS = 64, 15

Prepared = TypeVar("Prepared")


@dataclass(frozen=True)
class World:
    """What a mixture is made of, so that it can be opened anew as after a restart."""

    folders: tuple[Path, ...]
    tokenizer: Tokenizer
    num_lanes: int
    sequence_length: int
    best_fit_documents: int | None = None

    def open(self) -> Mixture:
        """Open the shards, sources in equal shares."""
        sources = [MixtureSource(folder.name, 1.0, ShardSet(folder), INFILLING_RATE) for folder in self.folders]
        return Mixture(
            sources,
            tokenizer=self.tokenizer,
            sequence_length=self.sequence_length,
            num_lanes=self.num_lanes,
            seed=SEED,
            best_fit_documents=self.best_fit_documents,
        )


class Restoring(NamedTuple):
    """Seconds to read a rank's lanes to their place, and to go on from the JSON of all states as a checkpoint has it.

    First with the shards open, to the first lane's next row; then with the opening; then to the rank's first step.
    """

    reading: float
    first_row: float
    opening_and_first_row: float
    first_step: float
    state_bytes: int


def measure_restoring(world: World, *, num_steps: int, lanes_per_rank: int) -> Restoring:
    """Read the first rank's lanes that far, go on from the JSON of all lanes' states, and compare with not stopping.

    The states of other ranks' lanes are copies of these: this rank reads their JSON, but not their rows.
    """
    mixture = world.open()
    started = time.perf_counter()
    states = [read_on(mixture, lane, num_steps) for lane in range(lanes_per_rank)]
    reading_seconds = time.perf_counter() - started
    num_ranks = world.num_lanes // lanes_per_rank
    stored = as_stored(states * num_ranks)
    restored = world.open()
    for lane, state in enumerate(states):
        require_same_rows(mixture, lane, state, restored, states_of(stored)[lane])

    def first_row(opened: Mixture) -> None:
        opened.next_row(0, states_of(stored)[0])

    def first_step(opened: Mixture) -> None:
        LaneBatches(opened, rank=0, num_ranks=num_ranks, states=states_of(stored)).next_step()

    return Restoring(
        reading_seconds,
        median_seconds(first_row, prepare=world.open),
        median_seconds(lambda _: first_row(world.open()), prepare=lambda: None),
        median_seconds(first_step, prepare=world.open),
        len(stored),
    )


def read_on(mixture: Mixture, lane: int, num_rows: int) -> LaneState:
    """Read a lane's first rows and drop them."""
    state = mixture.initial_state(lane)
    for _ in range(num_rows):
        _, state = mixture.next_row(lane, state)
    return state


def as_stored(states: list[LaneState]) -> bytes:
    """Give the bytes in which a checkpoint keeps all lanes' states."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "position.json"
        artifacts.write_json(path, {"lanes": [state.as_json() for state in states]})
        return path.read_bytes()


def states_of(stored: bytes) -> list[LaneState]:
    """Read all lanes' states, as resuming does."""
    return [LaneState.from_json(value) for value in json.loads(stored)["lanes"]]


def require_same_rows(
    going_on: Mixture, lane: int, state: LaneState, restored: Mixture, restored_state: LaneState
) -> None:
    """Refuse to time what does not go on at the same place."""
    for _ in range(ROWS_COMPARED):
        expected, state = going_on.next_row(lane, state)
        row, restored_state = restored.next_row(lane, restored_state)
        assert np.array_equal(row.input_ids, expected.input_ids), state
        assert np.array_equal(row.labels, expected.labels), state
        assert (row.segments, restored_state) == (expected.segments, state), state


def median_seconds(act: Callable[[Prepared], None], *, prepare: Callable[[], Prepared]) -> float:
    """Time an act on something prepared anew each time."""
    found = []
    for _ in range(REPEATS):
        prepared = prepare()
        started = time.perf_counter()
        act(prepared)
        found.append(time.perf_counter() - started)
    return median(found)
