"""Threshold sweeps and rules' overlap against counting one document after another."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from codellama_train.recipe.data_rules import Filters
from data_prep.filter import filter_reasons
from data_prep.sweeps import WHOLE_GRID, as_json, count_mark, marks, numeric_tags, overlap, sweep
from data_prep.tag_account import thresholds_of

VALUES = st.one_of(
    st.integers(0, 300).map(float), st.floats(0, 1), st.sampled_from([math.nan, 0.25, 100.0, 1e7, 3e12, -2.0])
)


@given(
    documents=st.lists(st.tuples(VALUES, st.integers(0, 10_000)), max_size=30),
    cut=st.integers(0, 30),
    threshold=st.sampled_from([0.25, 100.0, 33.3, -1.0, 5e9]),
)
def test_every_point_counts_what_a_rule_there_would_keep(
    documents: list[tuple[float, int]], cut: int, threshold: float
):
    """Whatever the parts, so documents are counted in two of them."""
    parts = [documents[:cut], documents[cut:]]
    halves = [
        sweep(np.array([value for value, _ in part], float), np.array([size for _, size in part], int), [threshold])
        for part in parts
    ]
    counted = as_json(halves[0] + halves[1], [threshold])
    known = [(value, size) for value, size in documents if not math.isnan(value)]
    assert counted["total"] == {"documents": len(documents), "bytes": sum(size for _, size in documents)}
    unknown = [size for value, size in documents if math.isnan(value)]
    assert counted["unknown"] == {"documents": len(unknown), "bytes": sum(unknown)}
    assert threshold in counted["points"]
    for place, point in enumerate(counted["points"]):
        at_most = [size for value, size in known if value <= point]
        below = [size for value, size in known if value < point]
        assert (counted["at_most"]["documents"][place], counted["at_most"]["bytes"][place]) == (
            len(at_most),
            sum(at_most),
        )
        assert (counted["below"]["documents"][place], counted["below"]["bytes"][place]) == (len(below), sum(below))


def test_points_where_nothing_changes_are_left_out():
    """Seven counts need no point between two whole numbers but the recipe's own, and none beyond them but the next."""
    counted = as_json(sweep(np.array([0.0, 1, 1, 2, 4, 4, 5]), np.ones(7, int), [2.5], grid=WHOLE_GRID), [2.5])
    assert counted["points"] == [0.0, 1.0, 2.0, 2.5, 4.0, 5.0, 6.0]
    assert counted["at_most"]["documents"] == [1, 3, 4, 4, 6, 7, 7]
    assert counted["below"]["documents"] == [0, 1, 3, 4, 4, 6, 7]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=20))
def test_a_rule_alone_drops_what_no_other_rule_does(rows: list[tuple[int, int, int]]):
    masks = {"one": np.array([one > 1 for one, _, _ in rows]), "two": np.array([two > 1 for _, two, _ in rows])}
    counts = overlap(masks, np.array([size for *_, size in rows]))
    for rule, place in (("one", 0), ("two", 1)):
        drops = [row for row in rows if row[place] > 1]
        alone = [row for row in drops if row[1 - place] <= 1]
        assert counts[rule] == {
            "documents": len(drops),
            "bytes": sum(size for *_, size in drops),
            "alone_documents": len(alone),
            "alone_bytes": sum(size for *_, size in alone),
        }


def test_the_sweep_agrees_with_the_filter_at_the_recipes_own_threshold():
    values = np.random.default_rng(1).integers(0, 3_000, 500)
    tags = pa.table({"longest_line": values, "language": ["c"] * 500})
    filters = Filters.model_validate({"longest_line": {"above": 1000.0}})
    assert thresholds_of(filters, "longest_line") == [{"drops": "above", "threshold": 1000.0, "language": None}]
    dropped = sum(reason is not None for reason in filter_reasons(tags, filters))
    counted = as_json(sweep(values.astype(float), np.ones(500, int), [1000.0]), [1000.0])
    stays = counted["at_most"]["documents"][counted["points"].index(1000.0)]
    assert stays == 500 - dropped
    assert 0 < dropped < 500


def test_only_numbers_are_swept():
    tags = pa.schema({"count": pa.int64(), "share": pa.float32(), "is_vendored": pa.int8(), "name": pa.string()})
    assert numeric_tags(tags) == ["count", "share"]
    assert marks(tags) == ["is_vendored"]
    counted = count_mark(np.array([1.0, 0.0, math.nan, 1.0]), np.array([5, 6, 7, 8]))
    assert counted == {"documents": 2, "bytes": 13, "unknown": 1, "of": 4}
