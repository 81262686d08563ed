from __future__ import annotations

import numpy as np

from codellama_train.tokens.randomness import RandomKey, as_fraction, as_integer, random_words


def key(number: int, *, seed: int = 1, epoch: int = 0) -> RandomKey:
    return RandomKey(seed, number.to_bytes(16, "little"), epoch)


def test_a_draw_depends_on_seed_document_epoch_and_stream_and_nothing_else():
    draws = {
        random_words(key(number, seed=seed, epoch=epoch), stream)
        for number in range(3)
        for seed in (0, 1, 2**70)
        for epoch in range(3)
        for stream in ("rate", "format", "cuts")
    }
    assert len(draws) == 3 * 3 * 3 * 3
    assert random_words(key(5), "cuts") == random_words(key(5), "cuts")


def test_seed_and_epoch_are_not_run_together():
    assert random_words(key(0, seed=1, epoch=11), "rate") != random_words(key(0, seed=11, epoch=1), "rate")


def test_fractions_and_integers_are_uniform_and_streams_independent():
    fractions = np.array(
        [
            [as_fraction(word) for stream in ("rate", "cuts") for word in random_words(key(number), stream)]
            for number in range(4_000)
        ]
    )
    assert fractions.min() >= 0
    assert fractions.max() < 1
    for column in fractions.T:
        counts, _ = np.histogram(column, bins=10, range=(0, 1))
        assert ((counts - 400) ** 2 / 400).sum() < 27.9  # chi-square, 9 degrees of freedom, p = 0.001
    correlations = np.corrcoef(fractions.T) - np.eye(4)
    assert np.abs(correlations).max() < 0.06


def test_integers_reach_every_value_and_never_the_limit():
    drawn = {as_integer(random_words(key(number), "cuts")[0], 3) for number in range(100)}
    assert drawn == {0, 1, 2}
    assert as_integer((1 << 64) - 1, 7) == 6
    assert as_fraction((1 << 64) - 1) < 1
