"""What a recipe's first steps really hold: shares, infilling, cuts, epochs; and whether every document comes back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from codellama_train.tokens.infilling import falls_to_infilling, uniform_cuts
from codellama_train.tokens.lane_state import LaneState
from codellama_train.tokens.lanes import Mixture, summarise
from codellama_train.tokens.randomness import RandomKey
from codellama_train.tokens.restoration import restored_documents
from codellama_train.tokens.rows import IGNORED, Origin, Row, Segment

PARTS = ("prefix", "middle", "suffix")


@dataclass
class Tally:
    """What has been counted so far; `whole` are documents that no row's end cuts."""

    forms: Counter[str] = field(default_factory=Counter)
    in_order_because: Counter[str] = field(default_factory=Counter)
    part_shares: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    empty_parts: Counter[str] = field(default_factory=Counter)
    documents: int = 0
    cut: int = 0
    tokens: int = 0
    predicted: int = 0
    padding: int = 0
    restored: int = 0
    different: list[str] = field(default_factory=list)


def audit(mixture: Mixture, *, num_steps: int, advance: Callable[[float], None] = lambda _: None) -> dict[str, Any]:
    """Read the first steps of all lanes and count what they hold, as a JSON value.

    `advance` is told of the tokens read, for a progress line.
    """
    tally, states = Tally(), []
    by_step = np.zeros((num_steps, len(mixture.sources)))
    reading_seconds = 0.0
    for lane in range(mixture.num_lanes):
        started = time.perf_counter()
        rows, state = read_lane(mixture, lane, num_steps)
        reading_seconds += time.perf_counter() - started
        states.append(state)
        for row, of_step in zip(rows, by_step, strict=True):
            count_row(tally, mixture, row, of_step)
        compare_texts(tally, mixture, rows)
        advance(num_steps * mixture.sequence_length)
    return {
        "steps": num_steps,
        "lanes": mixture.num_lanes,
        "sequence_length": mixture.sequence_length,
        "tokens_per_second": round(tally.tokens / reading_seconds),
        "predicted_tokens_fraction": tally.predicted / tally.tokens,
        "padding_tokens_fraction": tally.padding / tally.tokens,
        "sources": describe_sources(mixture, by_step, states),
        "largest_share_error_points": share_error(mixture, by_step),
        "documents": {"begun": tally.documents, "cut_by_a_context_boundary": tally.cut, "by_form": dict(tally.forms)},
        "infilling": describe_infilling(mixture, tally, states),
        "restored_documents": {"compared": tally.restored, "different": tally.different},
    }


def read_lane(mixture: Mixture, lane: int, num_rows: int) -> tuple[list[Row], LaneState]:
    """Read a lane's first rows."""
    rows, state = [], mixture.initial_state(lane)
    for _ in range(num_rows):
        row, state = mixture.next_row(lane, state)
        rows.append(row)
    return rows, state


def count_row(tally: Tally, mixture: Mixture, row: Row, by_source: npt.NDArray[np.float64]) -> None:
    """Count a row's tokens, by source too, and the documents that begin in it."""
    tally.tokens += len(row.labels)
    tally.predicted += int((row.labels != IGNORED).sum())
    for segment in row.segments:
        if segment.form == "padding":
            tally.padding += segment.stop - segment.start
            continue
        by_source[segment.origin.source] += segment.stop - segment.start
        if segment.offset == 0:
            tally.documents += 1
            tally.cut += not segment.is_whole
            tally.forms[segment.form] += 1
            if segment.form in ("psm", "spm"):
                count_parts(tally, mixture, segment.origin)
            elif segment.form == "in order" and mixture.sources[segment.origin.source].infilling_rate:
                tally.in_order_because[why_in_order(mixture, segment)] += 1


def random_key(mixture: Mixture, origin: Origin) -> RandomKey:
    """Give the key of a document's draws."""
    shards = mixture.sources[origin.source].shards
    return RandomKey(mixture.seed, shards.document_id(origin.document), origin.epoch)


def count_parts(tally: Tally, mixture: Mixture, origin: Origin) -> None:
    """Count the lengths of an infilled document's parts, as shares of its characters."""
    shards = mixture.sources[origin.source].shards
    length = mixture.tokenizer.document(shards.ids(origin.document)).num_characters
    first, second = uniform_cuts(random_key(mixture, origin), length)
    for part, characters in zip(PARTS, (first, second - first, length - second), strict=True):
        tally.part_shares[part] += characters / max(length, 1)
        tally.empty_parts[part] += not characters


def why_in_order(mixture: Mixture, segment: Segment) -> str:
    """Say why a document that could have been infilled was not."""
    source = mixture.sources[segment.origin.source]
    if not source.shards.is_exact(segment.origin.document):
        return "inexact"
    if not falls_to_infilling(random_key(mixture, segment.origin), source.infilling_rate or 0.0):
        return "coin"
    return "no_room"


def compare_texts(tally: Tally, mixture: Mixture, rows: Sequence[Row]) -> None:
    """Rebuild the lane's exact documents from its rows and compare each with what its shard holds."""
    for document in restored_documents(mixture.tokenizer, rows):
        shards = mixture.sources[document.origin.source].shards
        if shards.is_exact(document.origin.document):
            tally.restored += 1
            if document.text != mixture.tokenizer.decode(shards.ids(document.origin.document).tolist()):
                tally.different.append(shards.document_id(document.origin.document).hex())


def describe_sources(mixture: Mixture, by_step: npt.NDArray[np.float64], states: Sequence[LaneState]) -> dict[str, Any]:
    """Describe what was read of each source, padding left out."""
    totals, epochs = by_step.sum(axis=0), summarise(mixture, states)["epochs_by_source"]
    described = {}
    for index, (source, share) in enumerate(zip(mixture.sources, mixture.shares, strict=True)):
        drawn = [state.documents[index] for state in states]
        described[source.name] = {
            "share_asked": share,
            "share_in_first_step": by_step[0, index] / by_step[0].sum(),
            "share": totals[index] / totals.sum(),
            "tokens": int(totals[index]),
            "documents": sum(drawn),
            "epochs": epochs[source.name],
            "documents_of_a_lane": {"fewest": min(drawn), "most": max(drawn)},
            "inexact_documents_fraction": source.shards.manifest["inexact_documents"] / source.shards.num_documents,
        }
    return described


def share_error(mixture: Mixture, by_step: npt.NDArray[np.float64], window: int = 25) -> float:
    """Give the largest deviation of a source's share over any 25 steps in a row, in percentage points."""
    window = min(window, len(by_step))
    sums = np.cumsum(np.vstack([np.zeros(by_step.shape[1]), by_step]), axis=0)
    windows = sums[window:] - sums[:-window]
    shares = windows / windows.sum(axis=1, keepdims=True)
    return float(100 * np.abs(shares - np.array(mixture.shares)).max())


def describe_infilling(mixture: Mixture, tally: Tally, states: Sequence[LaneState]) -> dict[str, Any] | None:
    """Describe the realised infilling; None if the recipe asks for none."""
    if not any(source.infilling_rate for source in mixture.sources):
        return None
    summary, infilled = summarise(mixture, states), tally.forms["psm"] + tally.forms["spm"]
    return {
        "rate_asked": {source.name: source.infilling_rate for source in mixture.sources},
        "documents_fraction": summary["infilled_documents_fraction"],
        "tokens_fraction": summary["infilled_tokens_fraction"],
        "spm_fraction": tally.forms["spm"] / max(infilled, 1),
        "in_order_because": dict(tally.in_order_because),
        "mean_part_fraction": {part: share / max(infilled, 1) for part, share in tally.part_shares.items()},
        "empty_parts": dict(tally.empty_parts),
    }
