"""The split: whole repositories, the same ones in every source, and no near copy on both sides."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from codellama_train.recipe.data import HeldOut
from data_prep.split import HELD_OUT, TRAIN, is_held_out, leaking, repositories_divided_by_file, sides_of

RULES = HeldOut(fraction=0.1, seed=0, min_repositories=20)


def rows(*places: tuple[str, str, str]) -> list[dict[str, Any]]:
    return [
        {"document_id": str(index).encode(), "source": source, "repository": repository, "path": path}
        for index, (source, repository, path) in enumerate(places)
    ]


ROWS = st.lists(
    st.tuples(st.sampled_from(["code", "related"]), st.integers(0, 60).map(str), st.integers(0, 5).map(str)),
    max_size=200,
).map(lambda places: rows(*places))


def test_the_fraction_is_kept_over_many_repositories():
    held_out = sum(is_held_out(f"repository {number}", RULES) for number in range(10_000))
    assert 900 < held_out < 1_100


@given(ROWS)
def test_a_repository_is_on_one_side_in_all_sources_unless_it_is_divided(documents):
    divided = repositories_divided_by_file(documents, RULES)
    sides: dict[tuple[str, ...], set[str]] = {}
    for row, side in zip(documents, sides_of(documents, RULES, divided), strict=True):
        unit = (row["repository"], row["path"]) if row["repository"] in divided else (row["repository"],)
        sides.setdefault(unit, set()).add(side)
    assert all(len(found) == 1 for found in sides.values())


@given(ROWS, ROWS)
def test_more_data_moves_no_repository(documents, more):
    many = documents + rows(*((source, f"r{n}", "x") for n in range(300) for source in ("code", "related")))
    assert repositories_divided_by_file(many, RULES) == set()
    before = dict(zip((row["repository"] for row in many), sides_of(many, RULES, set()), strict=True))
    after = dict(zip((row["repository"] for row in many + more), sides_of(many + more, RULES, set()), strict=True))
    assert before.items() <= after.items()


def test_one_repository_is_divided_by_file():
    documents = rows(*(("code", "mine", f"{number}.py") for number in range(200)))
    divided = repositories_divided_by_file(documents, RULES)
    assert divided == {"mine"}
    assert 5 < sides_of(documents, RULES, divided).count(HELD_OUT) < 40


@given(st.integers(2, 6))
def test_two_files_are_enough_for_two_sides(number):
    documents = rows(*(("code", "mine", f"{index}.py") for index in range(number)))
    assert set(sides_of(documents, RULES, {"mine"})) == {TRAIN, HELD_OUT}


def test_held_out_near_copies_of_training_documents_are_told():
    documents = rows(("code", "a", "1"), ("code", "b", "2"), ("code", "b", "3"), ("code", "c", "4"))
    clusters = {b"0": b"x", b"1": b"x", b"2": b"y"}
    assert leaking(documents, [TRAIN, HELD_OUT, HELD_OUT, TRAIN], clusters) == [False, True, False, False]
