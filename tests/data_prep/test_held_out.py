"""The split: whole repositories, the same ones in every source, and no near copy on both sides."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codellama_train.recipe.data import HeldOut
from data_prep.near_duplicates.clusters import Clusters
from data_prep.sides import Division, divide, files_of, is_held_out, is_held_out_by_hash, joined

RULES = HeldOut(fraction=0.1, seed=0, min_repositories=20)
Place = tuple[str, str, str]  # source, repository, path

PLACES = st.lists(
    st.tuples(st.sampled_from(["code", "related"]), st.integers(0, 60).map(str), st.integers(0, 5).map(str)),
    max_size=200,
)


def division_of(places: list[Place]) -> Division:
    sources = {source for source, _, _ in places}
    return divide(
        {source: files_of([place[1:] for place in places if place[0] == source], RULES) for source in sources}, RULES
    )


def sides_of(places: list[Place], division: Division) -> list[bool]:
    return [is_held_out(repository, path, division, RULES) for _, repository, path in places]


def test_the_fraction_is_kept_over_many_repositories():
    held_out = sum(is_held_out_by_hash((f"repository {number}",), RULES) for number in range(10_000))
    assert 900 < held_out < 1_100


@given(PLACES)
def test_a_repository_is_on_one_side_in_all_sources_unless_it_is_divided(places):
    division = division_of(places)
    sides: dict[tuple[str, ...], set[bool]] = {}
    for (_, repository, path), side in zip(places, sides_of(places, division), strict=True):
        sides.setdefault((repository, path) if repository in division.by_file else (repository,), set()).add(side)
    assert all(len(found) == 1 for found in sides.values())


@given(PLACES)
def test_every_source_with_two_files_of_its_own_has_both_sides(places):
    own = [(source, f"{source}/{repository}", path) for source, repository, path in places]
    sides = sides_of(own, division_of(own))
    for source in {place[0] for place in own}:
        units = {place[1:] for place in own if place[0] == source}
        found = {side for place, side in zip(own, sides, strict=True) if place[0] == source}
        assert len(found) == min(len(units), 2)


@given(PLACES, PLACES)
def test_more_data_moves_no_repository(places, more):
    many = places + [(source, f"r{n}", "x") for n in range(300) for source in ("code", "related")]
    assert division_of(many) == Division(set())
    before = dict(zip((place[1] for place in many), sides_of(many, division_of(many)), strict=True))
    after = dict(zip((place[1] for place in many + more), sides_of(many + more, division_of(many + more)), strict=True))
    assert before.items() <= after.items()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50).map(str)), min_size=1), st.integers(1, 5))
def test_a_summary_of_files_does_not_depend_on_how_they_are_spread_over_parts(paths, parts):
    whole = files_of(paths, RULES)
    pieces = [files_of(paths[start::parts], RULES) for start in range(parts)]
    for repository, files in whole.items():
        own = [piece[repository] for piece in pieces if repository in piece]
        together = own[0]
        for piece in own[1:]:
            together = joined(together, piece)
        assert together == files


def test_one_repository_is_divided_by_file():
    places = [("code", "mine", f"{number}.py") for number in range(200)]
    division = division_of(places)
    assert division.by_file == {"mine"}
    assert 5 < sum(sides_of(places, division)) < 40


@given(st.integers(2, 6))
def test_two_files_are_enough_for_two_sides(number):
    places = [("code", "mine", f"{index}.py") for index in range(number)]
    assert set(sides_of(places, division_of(places))) == {True, False}


def test_a_document_in_no_cluster_has_none():
    clusters = Clusters(np.array([b"b", b"d"], "S16"), np.array([b"x", b"y"], "S16"))
    assert clusters.of(np.array([b"a", b"b", b"c", b"d", b"e"], "S16")).tolist() == [b"", b"x", b"", b"y", b""]
    empty = Clusters(np.array([], "S16"), np.array([], "S16"))
    assert empty.of(np.array([b"a"], "S16")).tolist() == [b""]
