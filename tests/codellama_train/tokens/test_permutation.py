from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codellama_train.tokens.permutation import Permutation


def order(size: int, *, seed: int = 3, source: str = "code", epoch: int = 0) -> list[int]:
    permutation = Permutation(size, seed=seed, source=source, epoch=epoch)
    return [permutation(index) for index in range(size)]


@pytest.mark.parametrize("size", [*range(1, 130), 255, 256, 257, 1_000, 4_095, 4_097, 10_007])
def test_every_document_comes_once(size: int):
    assert sorted(order(size)) == list(range(size))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3_000), st.integers(0, 2**70), st.text(max_size=80), st.integers(0, 10**9))
def test_every_document_comes_once_whatever_the_key(size: int, seed: int, source: str, epoch: int):
    assert sorted(order(size, seed=seed, source=source, epoch=epoch)) == list(range(size))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**12), st.data())
def test_large_orders_stay_in_range_and_do_not_collide(size: int, data: st.DataObject):
    permutation = Permutation(size, seed=1, source="code", epoch=0)
    places = data.draw(st.lists(st.integers(0, size - 1), unique=True, max_size=20))
    images = [permutation(place) for place in places]
    assert len(set(images)) == len(images)
    assert all(0 <= image < size for image in images)


def test_seed_source_and_epoch_each_give_another_order():
    orders = [order(100), order(100, seed=4), order(100, source="python"), order(100, epoch=1)]
    assert len({tuple(each) for each in orders}) == 4


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_each_document_is_as_likely_at_each_place(size: int):
    num_keys = 2_000
    counts = Counter(
        (place, document) for seed in range(num_keys) for place, document in enumerate(order(size, seed=seed))
    )
    expected = num_keys / size
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == size * size
    assert chi_square < 3 * size * size


def test_an_epoch_is_not_left_in_order():
    places = order(10_000)
    neighbours = sum(abs(first - second) == 1 for first, second in pairwise(places))
    assert neighbours < 15  # two are expected


def test_a_place_outside_the_order_is_refused():
    with pytest.raises(IndexError, match="place 3 of an order of 3"):
        Permutation(3, seed=0, source="code", epoch=0)(3)
    with pytest.raises(ValueError, match="at least one place"):
        Permutation(0, seed=0, source="code", epoch=0)
