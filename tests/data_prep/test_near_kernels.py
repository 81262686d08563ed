"""The functions that near-duplicate search is made of, each against a plain statement of what it does."""

from __future__ import annotations

import random
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near import RULES, shingles, similarity

from codellama_train.recipe.data_duplicates import Deduplication
from data_prep.documents import digest
from data_prep.near_duplicates.candidates import FULLY_COMPARED, packed, pairs_in_groups, repeated, unpacked
from data_prep.near_duplicates.columns import (
    Run,
    distinct,
    gathered,
    hash_ranges,
    key_ranges,
    new_array,
    open_columns,
    write_columns,
)
from data_prep.near_duplicates.earlier_releases import pairs_across
from data_prep.near_duplicates.exact_copies import copies_of, matches
from data_prep.near_duplicates.minhash import band_hashes, signatures
from data_prep.near_duplicates.planted import altered, plant
from data_prep.near_duplicates.ranking import ids_in, rank_keys
from data_prep.near_duplicates.removal import components, removed_copies
from data_prep.near_duplicates.shingles import bitmaps, jaccard, most_similar, shingle_sets
from data_prep.near_duplicates.survey import NONE
from data_prep.near_duplicates.word_buffers import word_buffers
from data_prep.words import ngrams, num_words, words_of

RECIPE = Deduplication.model_validate(RULES)
relaxed = settings(max_examples=60, deadline=None)
# Words short and few enough to repeat, beside any text at all.
TEXTS = st.lists(st.one_of(st.text(max_size=60), st.text(alphabet="ab_ .\n-é", max_size=60)), max_size=12)


@relaxed
@given(TEXTS, st.integers(0, 3))
def test_word_buffers_cut_as_words_does(texts, skipped):
    words = word_buffers(pa.array(["skipped"] * skipped + texts, pa.string())[skipped:])
    assert words.words().to_pylist() == [word for text in texts for word in words_of(text)]
    assert words.spaced().to_pylist() == [" ".join(words_of(text)) for text in texts]
    assert words.num_words.tolist() == [num_words(text) for text in texts]


@relaxed
@given(TEXTS, st.integers(1, 6))
def test_shingle_sets_are_those_of_tuples(texts, length):
    sets = shingle_sets(word_buffers(pa.array(texts, pa.string())), length)
    own = [sets.hashes[start:end] for start, end in zip(sets.offsets[:-1], sets.offsets[1:], strict=True)]
    plain = [shingles(text, length) for text in texts]
    assert [len(hashes) for hashes in own] == [len(found) for found in plain]
    assert all(np.array_equal(hashes, np.unique(hashes)) for hashes in own)
    for (a, first), (b, second) in combinations(zip(own, plain, strict=True), 2):
        assert jaccard(a, b) == (similarity(first, second) if first | second else 0)


@relaxed
@given(TEXTS)
def test_bitmaps_never_say_less_than_the_similarity(texts):
    sets = shingle_sets(word_buffers(pa.array(texts, pa.string())), 2)
    maps, sizes = bitmaps(sets), np.diff(sets.offsets)
    for a, b in combinations(range(len(texts)), 2):
        own = jaccard(*(sets.hashes[sets.offsets[index] : sets.offsets[index + 1]] for index in (a, b)))
        assert most_similar(maps[a : a + 1], maps[b : b + 1], sizes[a : a + 1], sizes[b : b + 1])[0] >= own


def test_bitmaps_tell_most_unequal_sets_apart():
    texts = [" ".join(f"{index}_{number}" if number % 3 else f"w{number}" for number in range(900)) for index in (0, 1)]
    sets = shingle_sets(word_buffers(pa.array(texts)), 1)
    maps, sizes = bitmaps(sets), np.diff(sets.offsets)
    bound = most_similar(maps[:1], maps[1:], sizes[:1], sizes[1:])[0]
    assert pytest.approx(similarity(shingles(texts[0], 1), shingles(texts[1], 1))) == 0.2
    assert bound < 0.4


def test_the_signature_of_a_text_does_not_depend_on_its_neighbours():
    texts = [
        "one two three four five six",
        "",
        "a b c",
        "one two three four five six",
        "seven eight nine ten eleven twelve",
    ]
    together = band_hashes(signatures(word_buffers(pa.array(texts)), RECIPE), RECIPE)
    alone = [band_hashes(signatures(word_buffers(pa.array([text])), RECIPE), RECIPE)[:, 0] for text in texts]
    assert np.array_equal(together, np.stack(alone, axis=1))
    assert np.array_equal(together[:, 0], together[:, 3])
    assert not (together[:, 0] == together[:, 4]).any()


@relaxed
@given(st.lists(st.integers(0, 9), max_size=12))
def test_repeated_hashes_are_those_that_occur_more_than_once(hashes):
    places = repeated(np.array(hashes, np.uint64)).tolist()
    assert sorted(places) == [place for place, value in enumerate(hashes) if hashes.count(value) > 1]


@relaxed
@given(st.lists(st.integers(0, 6), max_size=40), st.randoms(use_true_random=False))
def test_pairs_in_groups_are_all_pairs_of_equal_hashes(hashes, rng):
    ranks = list(range(len(hashes)))
    rng.shuffle(ranks)
    pieces = pairs_in_groups(np.array(hashes, np.uint64), np.array(ranks, np.uint32))
    found = [tuple(pair) for piece in pieces for pair in zip(*(half.tolist() for half in unpacked(piece)), strict=True)]
    plain = {
        (max(one, other), min(one, other))
        for (a, one), (b, other) in combinations(zip(hashes, ranks, strict=True), 2)
        if a == b
    }
    assert len(found) == len(set(found))
    assert set(found) == plain


def test_a_large_group_is_compared_with_its_best_members():
    members = list(range(FULLY_COMPARED + 10))
    ranks = np.array(members[::-1], np.uint32)
    pieces = pairs_in_groups(np.ones(len(members), np.uint64), ranks)
    found = {tuple(pair) for piece in pieces for pair in zip(*(half.tolist() for half in unpacked(piece)), strict=True)}
    assert found == {(b, a) for a, b in combinations(members, 2) if a < FULLY_COMPARED}


@relaxed
@given(st.lists(st.integers(0, 5), max_size=20), st.lists(st.integers(0, 5), max_size=20))
def test_pairs_across_are_all_pairs_of_equal_hashes(new, known):
    pieces = pairs_across(
        np.array(new, np.uint64),
        np.arange(len(new), dtype=np.uint32),
        np.array(known, np.uint64),
        np.arange(len(known), dtype=np.uint32),
    )
    found = {tuple(pair) for piece in pieces for pair in zip(*(half.tolist() for half in unpacked(piece)), strict=True)}
    assert found == {(a, b) for a, one in enumerate(new) for b, other in enumerate(known) if one == other}


EDGES = st.lists(
    st.tuples(st.integers(0, 15), st.integers(0, 15), st.sampled_from([0.7, 0.8, 0.9])).filter(lambda e: e[0] != e[1]),
    max_size=40,
)


def in_files(edges: list[tuple[int, int, float]], size: int = 7):
    """Give edges as verified pairs come: each once, sorted by the worse document, some at a time."""
    unique = sorted({(max(a, b), min(a, b)): value for a, b, value in edges}.items())
    for start in range(0, len(unique), size):
        some = unique[start : start + size]
        worse, better = (np.array([pair[half] for pair, _ in some], np.uint32) for half in (0, 1))
        yield worse, better, np.array([value for _, value in some])


@relaxed
@given(EDGES)
def test_removal_is_greedy_in_rank_order(tmp_path_factory, edges):
    copies, values = removed_copies(tmp_path_factory.mktemp("removal"), 16, in_files(edges))
    neighbours = {(max(a, b), min(a, b)): value for a, b, value in edges}
    kept: set[int] = set()
    for rank in range(16):
        better = [(value, -b) for (a, b), value in neighbours.items() if a == rank and b in kept]
        if better:
            value, copy = max(better)
            assert (copies[rank], values[rank]) == (-copy, value)
        else:
            assert copies[rank] == NONE
            kept.add(rank)


@relaxed
@given(EDGES)
def test_components_are_those_of_plain_search(tmp_path_factory, edges):
    found = components(tmp_path_factory.mktemp("components") / "clusters", 16, in_files(edges))
    neighbours: dict[int, set[int]] = {}
    for a, b, _ in edges:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    for start in range(16):
        reached, waiting = {start}, [start]
        while waiting:
            fresh = neighbours.get(waiting.pop(), set()) - reached
            reached |= fresh
            waiting += fresh
        assert found[start] == (min(reached) if start in neighbours else NONE)


def test_a_long_chain_is_one_component(tmp_path):
    chain = [(number + 1, number, 0.8) for number in range(5_000)]
    found = components(tmp_path / "clusters", 5_001, in_files(chain, size=1_000))
    assert (found == 0).all()
    backwards = [(5_000, number, 0.8) for number in range(4_999, -1, -1)]
    assert (components(tmp_path / "star", 5_001, in_files(backwards, size=1_000)) == 0).all()


@relaxed
@given(st.lists(st.tuples(st.integers(0, 4), st.integers()), max_size=30, unique_by=lambda pair: pair[1]))
def test_copies_name_the_best_of_equal_content(documents):
    hashes = np.array([digest(bytes([content])) for content, _ in documents], "S16")
    order = sorted(range(len(documents)), key=lambda index: documents[index][1])
    ranks = np.empty(len(documents), np.uint32)
    ranks[order] = np.arange(len(documents))
    copies, originals = copies_of(hashes, ranks)
    best: dict[int, int] = {}
    for index in order:
        best.setdefault(documents[index][0], index)
    expected = {(index, best[content]) for index, (content, _) in enumerate(documents) if best[content] != index}
    assert set(zip(copies.tolist(), originals.tolist(), strict=True)) == expected


def test_matches_are_the_first_rows_of_equal_content():
    hashes = np.array([digest(bytes([number])) for number in (1, 2, 3)], "S16")
    known = np.array([digest(bytes([number])) for number in (3, 1, 1)], "S16")
    assert matches(hashes, known, np.array([9, 8, 7], np.uint32)).tolist() == [7, -1, 9]
    assert matches(hashes, known[:0], np.empty(0, np.uint32)).tolist() == [-1, -1, -1]


NUMBER = st.one_of(st.none(), st.integers(-(2**40), 2**40))


@relaxed
@given(st.lists(st.tuples(NUMBER, NUMBER, NUMBER, st.integers(0, 2**40)), min_size=1, max_size=20))
def test_rank_keys_sort_most_stars_forks_newest_longest_then_id(facts):
    ids = [digest(bytes([index])) for index in range(len(facts))]
    columns = [pa.array(list(values), pa.int64()) for values in zip(*facts, strict=True)]
    columns[2] = columns[2].cast(pa.timestamp("s", tz="UTC"))
    names = ["stars", "forks", "revision_time", "num_characters"]
    table = pa.table(dict(zip(names, columns, strict=True)) | {"document_id": pa.array(ids, pa.binary(16))})
    keys = rank_keys(table)
    unknown = -(2**63)

    def plain(index: int) -> tuple:
        return (*(-(unknown if value is None else value) for value in facts[index]), ids[index])

    assert np.argsort(keys, kind="stable").tolist() == sorted(range(len(facts)), key=plain)
    assert [identity.ljust(16, b"\0") for identity in ids_in(keys).tolist()] == ids


@relaxed
@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=20), min_size=1, max_size=4), st.integers(1, 9))
def test_ranges_of_runs_hold_everything_once(runs, count):
    with tempfile.TemporaryDirectory() as scratch:
        files = []
        for number, values in enumerate(runs):
            keys = np.sort(np.array(values, np.uint64))
            write_columns(Path(scratch) / str(number), {"key": keys, "row": np.arange(len(keys), dtype=np.uint32)})
            files.append(Run(Path(scratch) / str(number), 100 * number))
        everything = sorted(value for values in runs for value in values)
        for ranges in (hash_ranges(count), key_ranges(files, "key", count)):
            found = [gathered(files, ["key", "row"], each.low, each.high) for each in ranges]
            parts = [sorted(keys.tolist()) for keys, _ in found]
            assert [value for part in parts for value in part] == everything
            rows = sorted(row for _, own in found for row in own.tolist())
            assert rows == [100 * number + row for number, values in enumerate(runs) for row in range(len(values))]


def test_a_file_that_is_replaced_is_read_anew(tmp_path):
    for value in (1, 2):
        write_columns(tmp_path / "new", {"key": np.array([value], np.uint64)})
        (tmp_path / "new").replace(tmp_path / "columns")
        assert open_columns(tmp_path / "columns")["key"].tolist() == [value]


def test_distinct_values_are_sorted():
    assert distinct(np.array([3, 1, 3, 2], np.uint64)).tolist() == [1, 2, 3]
    assert distinct(np.empty(0, np.uint64)).tolist() == []
    assert unpacked(packed(np.array([7], np.uint32), np.array([NONE], np.uint32)))[1].tolist() == [NONE]


def test_an_array_begins_with_what_it_is_filled_with(tmp_path):
    assert new_array(tmp_path / "a" / "b", 3, np.uint32, fill=NONE).tolist() == [NONE] * 3
    assert new_array(tmp_path / "empty", 0, np.uint32).tolist() == []


@relaxed
@given(st.text(alphabet="abc \n", min_size=1, max_size=200), st.integers())
def test_planted_copies_have_as_many_lines_and_differ_by_what_was_replaced(text, seed):
    copy = altered(text, random.Random(seed), separator="\n", most=0.4)
    assert copy.count("\n") == text.count("\n")
    changed = sum(a != b for a, b in zip(text.split("\n"), copy.split("\n"), strict=True))
    assert changed <= round(0.4 * len(text.split("\n")))
    assert plant("same", text) == plant("same", text)


@relaxed
@given(st.text(max_size=200))
def test_words_do_not_depend_on_white_space_or_punctuation(text):
    spaced = "".join(f" {character};\n" if character in " \t\n.,;(" else character for character in text)
    assert words_of(spaced) == words_of(text)
    assert num_words(text) == len(words_of(text))
    assert all(
        character.isalnum() or character == "_" or not character.isascii() for character in "".join(words_of(text))
    )


def test_ngrams_of_fewer_words_are_none():
    assert list(ngrams(["a", "b"], 3)) == []
    assert list(ngrams(["a", "b", "c"], 2)) == [("a", "b"), ("b", "c")]
