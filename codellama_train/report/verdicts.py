"""What an interval says about a claim of the paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from codellama_train.report.comparisons import Measured, NotMeasuredError
from codellama_train.report.pipeline import Pipeline

SMALL_COST = 0.02  # of the loss; the paper's largest difference is 0.3 %, this leaves room for a small sample


class Verdict(StrEnum):
    """What the interval says about a claim."""

    SHOWS = "shows"
    UNCLEAR = "does not show at this scale"
    OPPOSITE = "does not show, the opposite does"
    MISSING = "not measured"


def judge_gain(measured: Measured) -> Verdict:
    """A gain shows when the interval is above zero."""
    interval = measured.interval
    if interval.low > 0:
        return Verdict.SHOWS
    return Verdict.OPPOSITE if interval.high < 0 else Verdict.UNCLEAR


def judge_small_cost(measured: Measured) -> Verdict:
    """A cost is small when the interval is below two hundredths of the loss."""
    assert measured.level is not None, measured
    limit = SMALL_COST * measured.level
    if measured.interval.high < limit:
        return Verdict.SHOWS
    return Verdict.OPPOSITE if measured.interval.low > limit else Verdict.UNCLEAR


def judge_share(measured: Measured) -> Verdict:
    """A share shows when its interval is above that of what it is compared with."""
    assert measured.against is not None, measured
    if measured.interval.low > measured.against.high:
        return Verdict.SHOWS
    return Verdict.OPPOSITE if measured.interval.high < measured.against.low else Verdict.UNCLEAR


@dataclass(frozen=True)
class Claim:
    """One statement of the paper and the number of this run that bears on it."""

    key: str
    section: str
    quantity: str
    unit: str
    paper: str
    measure: Callable[[Pipeline], Measured]
    judge: Callable[[Measured], Verdict] = judge_gain


@dataclass(frozen=True)
class Finding:
    """A claim with its number and verdict; without a number, `reason` says why."""

    claim: Claim
    measured: Measured | None
    verdict: Verdict
    reason: str = ""


def find(pipeline: Pipeline, claim: Claim) -> Finding:
    """Measure one claim and judge it."""
    try:
        measured = claim.measure(pipeline)
    except NotMeasuredError as error:
        return Finding(claim, None, Verdict.MISSING, str(error))
    return Finding(claim, measured, claim.judge(measured))
