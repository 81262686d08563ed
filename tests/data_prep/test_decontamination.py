"""Decontamination: planted items are found however they are laid out, ordinary code is clean, and every layer finds
just what a plain comparison of every document with every item finds."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from itertools import pairwise

import pytest
from benchmark_items import HUMANEVAL, RULES
from hypothesis import given, settings
from hypothesis import strategies as st
from preparing import STDLIB

from data_prep.contamination.hash_sets import hash_set, owners_of
from data_prep.contamination.index import build_index
from data_prep.contamination.index_files import load_index, save_index
from data_prep.contamination.items import FEWEST_LETTERS, FEWEST_WORDS, MOST_ITEMS, Item
from data_prep.contamination.joined_texts import LONGEST, hash_ngrams, hash_runs, join_texts
from data_prep.contamination.search import Hit, hits_in

INDEX = build_index(HUMANEVAL, RULES)
ITEMS = {item.name: item for item in HUMANEVAL}


def hits_of(text: str, index=INDEX) -> dict[tuple[str, str], Hit]:
    """Give the hits of a text by item and layer."""
    return {(index.items[hit.item].name, hit.layer): hit for hit in hits_in([text.encode()], index)}


def folded(text: str) -> list[str]:
    return re.findall(r"[0-9A-Za-z_\x80-\U0010ffff]+", re.sub("[A-Z]", lambda match: match[0].lower(), text))


def runs_of(text: str) -> set[tuple[str, ...]]:
    """Give the 13-grams of a text that are more than a row of short words."""
    words = folded(text)
    runs = {tuple(words[start : start + 13]) for start in range(len(words) - 12)}
    return {run for run in runs if sum(len(word.encode()) for word in run) >= FEWEST_LETTERS}


def letters_of(text: str) -> str:
    return "".join(character for character in "".join(folded(text)) if character != "_")


@pytest.mark.parametrize("name", ITEMS)
def test_every_item_is_found_in_a_file_that_holds_it(name):
    prompt, solution, _ = ITEMS[name].texts
    hits = hits_of(f"import os\n\nCONSTANT = 1\n\n{prompt}{solution}\n\nprint(CONSTANT)\n")
    assert hits[name, "exact"].value >= 1
    assert hits[name, "ngram"].value >= len(runs_of(prompt)) * 0.9


def test_every_item_is_found_in_a_dialogue_and_in_prose():
    for text in (f"[INST] {{}} [/INST] {'Sure: '}", "<p>As an exercise:</p> {}"):
        hits = hits_in([text.format(item.texts[0]).encode() for item in HUMANEVAL], INDEX)
        assert {hit.document for hit in hits if hit.item == hit.document} == set(range(len(HUMANEVAL)))


def test_layout_case_and_punctuation_hide_nothing():
    solution = ITEMS["HumanEval/1"].solutions[0]
    laid_out = textwrap.indent(solution.replace("\n", "\n\n\n").upper(), "\t\t")
    assert hits_of(f"class A:\n{laid_out}")["HumanEval/1", "exact"].value == 1
    commented = re.sub(r"\n", "  ;;; \n", ITEMS["HumanEval/1"].whole)
    assert {layer for _, layer in hits_of(commented)} >= {"ngram", "substring"}
    assert ("HumanEval/1", "exact") not in hits_of(re.sub(r"\n", "  # CHANGED\n", solution))


def test_ordinary_code_is_clean():
    texts = [path.read_bytes() for path in sorted((STDLIB / "email").glob("*.py"))]
    assert hits_in(texts, INDEX) == []


LAYOUTS: list[Callable[[str], str]] = [
    str,
    str.upper,
    lambda text: "  ".join(text.split()),
    lambda text: text.replace(" ", "\t"),
    lambda text: text.replace(":", " ;"),  # the same letters
    lambda text: text.replace("_", ""),
]


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_ngrams_and_texts_found_are_those_of_a_plain_comparison(data):
    """Excerpts of items, whole, cut or with a word changed, several to a document and several documents."""
    documents = []
    for _ in range(data.draw(st.integers(1, 3))):
        pieces = ["def unrelated():\n"]
        for _ in range(data.draw(st.integers(0, 2))):
            text = data.draw(st.sampled_from([text for item in HUMANEVAL[:40] for text in item.texts]))
            start = data.draw(st.sampled_from([0, 0, len(text) // 3, len(text) - 40]))
            end = data.draw(st.sampled_from([len(text), len(text), start + 60, start + 200]))
            pieces.append(data.draw(st.sampled_from(LAYOUTS))(text[max(start, 0) : end]))
        documents.append("\n".join(pieces))
    found = {
        (hit.document, INDEX.items[hit.item].name, hit.layer): hit.value
        for hit in hits_in([text.encode() for text in documents], INDEX)
    }
    for number, document in enumerate(documents):
        runs, flat, text = runs_of(document), "".join(document.lower().split()), letters_of(document)
        expected = {
            (number, name, layer): value
            for name, (own_runs, wholes, samples) in PLAIN.items()
            for layer, value in (
                ("ngram", len(own_runs & runs)),
                ("exact", sum(whole in flat for whole in wholes)),
                ("substring", sum(sample in text for sample in samples)),
            )
            if value
        }
        assert expected == {key: value for key, value in found.items() if key[0] == number and key[2] != "renamed"}


def is_telling(text: str) -> bool:
    different = len(set(letters_of(text)))
    return len(letters_of(text)) >= FEWEST_LETTERS and len(folded(text)) >= FEWEST_WORDS and different >= 8


def common_runs() -> set[tuple[str, ...]]:
    counts: dict[tuple[str, ...], int] = {}
    for item in HUMANEVAL:
        for run in runs_of(item.whole):
            counts[run] = counts.get(run, 0) + 1
    return {run for run, count in counts.items() if count > MOST_ITEMS}


COMMON_RUNS = common_runs()
PLAIN = {  # what a plain comparison looks for: n-grams, whole texts without space, sampled substrings
    item.name: (
        runs_of(item.whole) - COMMON_RUNS,
        ["".join(text.lower().split()) for text in dict.fromkeys(item.texts) if is_telling(text)],
        [
            pattern.letters.decode()
            for pattern in INDEX.patterns
            if pattern.exact is None and INDEX.items[pattern.item] == item
        ],
    )
    for item in HUMANEVAL
}


def test_substrings_are_fifty_characters_of_the_item_and_always_the_same():
    again = build_index(HUMANEVAL, RULES)
    assert again.patterns == INDEX.patterns
    samples = [pattern for pattern in INDEX.patterns if pattern.exact is None]
    telling = [text for item in HUMANEVAL for text in item.texts if is_telling(text)]
    long_enough = [text for text in telling if len(letters_of(text)) > 52]
    assert 3 * len(long_enough) <= len(samples) <= 3 * len(telling)
    for pattern in samples:
        text = pattern.letters.decode()
        assert len(text) == 50 or text in map(letters_of, telling)
        assert any(text in letters_of(whole) for whole in INDEX.items[pattern.item].texts)


def test_characters_are_counted_not_bytes():
    text = "Γέροντας αλεπού ζούσε κάποτε σε δάσος βαθύ, και μετρούσε έως τα εκατό και πίσω"
    index = build_index([Item("own", "1", (text,), ())], RULES)
    assert {len(pattern.letters.decode()) for pattern in index.patterns if pattern.exact is None} == {50}
    assert hits_of(f"# {text.replace(' ', '  ')}", index).keys() == {("1", "exact"), ("1", "substring"), ("1", "ngram")}


def test_texts_too_short_to_tell_are_not_searched_for():
    short = Item("b", "1", ("def add(x, y):", "return x + y"), ("return x + y",))
    assert hits_of("def add(x, y):\n    return x + y\n", build_index([short], RULES)) == {}
    numbers = Item("b", "1", ("[" + "0, " * 40 + "]",), ())
    assert hits_of("a = [" + "0, " * 80 + "]", build_index([numbers], RULES)) == {}
    dots = Item("b", "1", (" ".join(["aaaaa"] * 30), "x = '" + "ab" * 200 + "' for all of the rest to use"), ())
    assert hits_of("b" + "ab" * 200 + "a" * 200, build_index([dots], RULES)) == {}
    words = " ".join(f"word{number}" for number in range(FEWEST_WORDS))
    assert hits_of(f"x {words.replace(' ', '  ')} y", build_index([Item("b", "1", (words,), ())], RULES)).keys() == {
        ("1", "exact"),
        ("1", "substring"),  # all of it, as it is shorter than a sample
    }


def test_what_most_items_share_is_no_items_own():
    imports = (
        "import java.io.*; import java.lang.*; import java.util.*; import java.math.*; class Solution extends Base"
    )
    items = [
        Item(
            "b",
            str(number),
            (imports, f"Find the {number}th smallest of all the numbers given in the list {number}."),
            (),
        )
        for number in range(MOST_ITEMS + 1)
    ]
    assert hits_of(imports, build_index(items, RULES)) == {}
    assert len(hits_of(imports, build_index(items[1:], RULES))) >= MOST_ITEMS
    other = [Item("c", item.name, item.texts, ()) for item in items[1:]]
    assert len(hits_of(imports, build_index([*items, *other], RULES))) >= MOST_ITEMS  # counted by benchmark


def test_what_is_found_does_not_depend_on_the_neighbours():
    """One document at a time, all at once, and beside one that fills more than a batch."""
    texts = [ITEMS[name].whole.encode() for name in list(ITEMS)[:12]] + [b"", b"x", b"\n" * 3_000_000, b"last"]
    alone = [
        Hit(number, *list(vars(hit).values())[1:])
        for number, text in enumerate(texts)
        for hit in hits_in([text], INDEX)
    ]
    assert hits_in(texts, INDEX) == alone
    assert hits_in([], INDEX) == []


def test_a_saved_index_finds_the_same(tmp_path):
    save_index(INDEX, tmp_path)
    texts = [ITEMS[name].whole.encode() for name in list(ITEMS)[:20]]
    assert hits_in(texts, load_index(tmp_path)) == hits_in(texts, INDEX)


def test_an_index_of_items_that_say_nothing_finds_nothing(tmp_path):
    index = build_index([Item("b", "1", ("short",), ("x",))], RULES)
    save_index(index, tmp_path)
    for each in (index, load_index(tmp_path)):
        assert hits_in([b"short", STDLIB.joinpath("ast.py").read_bytes()], each) == []


@given(st.lists(st.binary(max_size=200).map(lambda data: data.replace(b"\xff", b"")), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_equal_words_and_only_they_have_equal_hashes(words):
    joined = join_texts(words)
    hashes = hash_runs(joined.data, joined.starts[:-1], joined.starts[1:] - joined.starts[:-1] - 1).tolist()
    for (first, second), (one, other) in zip(pairwise(words), pairwise(hashes), strict=True):
        assert (one == other) == ((first[:LONGEST], len(first)) == (second[:LONGEST], len(second)))
    for number, word in enumerate(words):
        assert joined.text(number) == word


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 14))
@settings(max_examples=100, deadline=None)
def test_ngram_hashes_are_equal_where_the_ngrams_are(numbers, length):
    joined = join_texts([bytes([97 + number]) for number in numbers] or [b""])
    values = hash_runs(joined.data, joined.starts[:-1], joined.starts[1:] - joined.starts[:-1] - 1)[: len(numbers)]
    hashes = hash_ngrams(values, length).tolist()
    ngrams = [tuple(numbers[start : start + length]) for start in range(len(numbers) - length + 1)]
    first: dict[object, int] = {}
    other: dict[int, int] = {}
    assert [first.setdefault(run, len(first)) for run in ngrams] == [
        other.setdefault(value, len(other)) for value in hashes
    ]


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 50), max_size=60), st.lists(st.integers(0, 50), max_size=60))
@settings(max_examples=100, deadline=None)
def test_sets_and_owners_are_those_of_python(known, values):
    import numpy as np

    hashes = hash_set(np.array(known, np.uint64))
    places, slots = hashes.find(np.array(values + known, np.uint64))
    expected = [place for place, value in enumerate(values + known) if value in set(known)]
    assert places.tolist() == expected
    assert hashes.hashes[slots].tolist() == [(values + known)[place] for place in expected]
    owners = owners_of(hashes, np.array(known, np.uint64), np.arange(len(known)) % 7)
    which, numbers = owners.of(slots)
    found: dict[int, set[int]] = {}
    for each, number in zip(which.tolist(), numbers.tolist(), strict=True):
        found.setdefault((values + known)[expected[each]], set()).add(number)
    assert found == {
        value: {number % 7 for number, other in enumerate(known) if other == value}
        for value in set(values + known) & set(known)
    }
