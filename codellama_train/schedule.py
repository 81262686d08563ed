"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from codellama_train.recipe.training import Optimizer


def learning_rate(step: int, optimizer: Optimizer, *, steps: int) -> float:
    """Give the rate of update number `step` (1 … steps): linear warm-up to the peak, then cosine decay (section 2.6).

    The peak is reached at the last warm-up step, the final fraction of it at the last step of all.
    """
    peak = optimizer.peak_learning_rate
    if step <= optimizer.warmup_steps:
        start = optimizer.warmup_start_fraction
        return peak * (start + (1 - start) * step / optimizer.warmup_steps)
    progress = (step - optimizer.warmup_steps) / (steps - optimizer.warmup_steps)
    final = optimizer.final_learning_rate_fraction
    return peak * (final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2)
