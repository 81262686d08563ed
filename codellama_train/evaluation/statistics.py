"""How sure a measured number is: bootstrap intervals over documents and Wilson intervals of shares. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Numbers = Sequence[float] | npt.NDArray[np.float64]
NORMAL_97_5 = 1.959963984540054  # two-sided 95 %


@dataclass(frozen=True)
class Interval:
    """A measured value and its 95 % interval."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """Give the three numbers under their names."""
        return asdict(self)

    def excludes_zero(self) -> bool:
        """Tell whether the sign of the value is sure."""
        return self.low > 0 or self.high < 0


def ratio(numerators: Numbers, denominators: Numbers, *, resamples: int, seed: int) -> Interval:
    """Give sum / sum over items, with a bootstrap interval over the items.

    Nats per token are such a ratio: documents are drawn again with replacement, tokens of one document stay together.
    """
    top, bottom = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    assert (bottom > 0).all(), "every item needs something to divide by"
    draws = _draws(len(top), resamples=resamples, seed=seed)
    return _interval(top.sum() / bottom.sum(), (draws @ top) / (draws @ bottom))


def paired_difference(first: Numbers, second: Numbers, denominators: Numbers, *, resamples: int, seed: int) -> Interval:
    """Give (sum of first - sum of second) / sum of denominators over the same items, with a bootstrap interval.

    Both models are scored on every drawn item, so what makes an item hard cancels.
    """
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return ratio(differences, denominators, resamples=resamples, seed=seed)


def share(successes: int, trials: int) -> Interval:
    """Give the share of successes with Wilson's interval, which is right at 0 and at 1 too."""
    square = NORMAL_97_5**2
    middle = (successes + square / 2) / (trials + square)
    half = NORMAL_97_5 / (trials + square) * math.sqrt(successes * (trials - successes) / trials + square / 4)
    return Interval(successes / trials, max(0.0, middle - half), min(1.0, middle + half))


def _draws(items: int, *, resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """Count how often each resample draws each item. Shape: (resamples, items)."""
    assert items > 0, "there is nothing to draw from"
    generator = np.random.default_rng(seed)
    return generator.multinomial(items, np.full(items, 1 / items), size=resamples).astype(np.float64)


def _interval(value: float, resampled: npt.NDArray[np.float64]) -> Interval:
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Interval(float(value), float(low), float(high))
