"""Renamed copies: twenty solutions under other names are found inside other files, real code is clean, and every
similarity is that of a plain comparison of all windows."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import renamed_solutions
from benchmark_items import HUMANEVAL, RULES
from hypothesis import given, settings
from hypothesis import strategies as st
from preparing import STDLIB

from data_prep.contamination.comments import comment_spans
from data_prep.contamination.fixed_names import BUILT_IN, KEYWORDS
from data_prep.contamination.index import build_index
from data_prep.contamination.items import FEWEST_GRAMS, Item
from data_prep.contamination.joined_texts import join_texts
from data_prep.contamination.renamed_search import renamed_copies
from data_prep.contamination.renaming import GRAM_TOKENS, grams_of
from data_prep.contamination.search import hits_in

ITEMS = {item.name: item for item in HUMANEVAL}
INDEX = build_index(HUMANEVAL, RULES)
SOURCE = Path(renamed_solutions.__file__).read_text("utf-8")
RENAMED = dict(re.findall(r"^# (HumanEval/\d+)\n(def .*?)(?=^# HumanEval|\ndef |\Z)", SOURCE, re.DOTALL | re.MULTILINE))


def test_there_are_twenty_that_solve_their_problems():
    assert len(RENAMED) == 20
    assert all(name in ITEMS for name in RENAMED)


@pytest.mark.parametrize("name", RENAMED)
def test_a_renamed_solution_passes_the_problems_own_tests(name):
    (function,) = re.findall(r"^def (\w+)", RENAMED[name], re.MULTILINE)
    prompt, _, tests = ITEMS[name].texts
    problem = {}
    exec(prompt + "    pass\n" + tests, problem)  # noqa: S102 - the problems' own tests
    if name == "HumanEval/32":
        problem["poly"] = renamed_solutions.evaluate
    problem["check"](getattr(renamed_solutions, function))


@pytest.mark.parametrize("name", RENAMED)
def test_a_renamed_solution_is_found_inside_another_file(name):
    around = (STDLIB / "textwrap.py").read_text("utf-8")
    half = around.index("\n\ndef ")
    file = f"{around[:half]}\n\n{RENAMED[name]}\n{around[half:]}"
    hits = {INDEX.items[hit.item].name: hit for hit in hits_in([file.encode()], INDEX)}
    assert hits.keys() - {"HumanEval/56"} == {name}  # 56 is 61 with other brackets
    assert hits[name].layer == "renamed"
    assert hits[name].value >= RULES.near_similarity
    assert " ".join(hits[name].excerpt.split()[:3]) in " ".join(file.split())


def test_none_of_the_stronger_layers_finds_them():
    """Otherwise they would say nothing about this one."""
    texts = [text.encode() for name, text in RENAMED.items() if name != "HumanEval/19"]  # most of 19 is its literals
    layers = {hit.layer for hit in hits_in(texts, INDEX)}
    assert layers == {"renamed"}


def test_real_code_is_clean():
    texts = [path.read_bytes() for path in sorted(STDLIB.glob("*.py"))[:120]]
    assert [hit for hit in hits_in(texts, INDEX) if hit.layer == "renamed"] == []


def test_a_short_solution_is_not_looked_for():
    trivial = ITEMS["HumanEval/53"].solutions[0]
    assert trivial.strip() == "return x + y"
    looked_for = {INDEX.items[number].name for number in INDEX.renamed.items.tolist()}
    assert "HumanEval/53" not in looked_for
    assert len(looked_for) > 120


def comments_of(text: str) -> str:
    """Blank out comments, by the rules that comments.py states."""
    pattern = (
        r'"""[\s\S]*?"""|' + r"'''[\s\S]*?'''|(?<![^\s])#[^\n]*|"
        r"(?:(?<![^\n\t;{},])|(?<=[;{}, \t\n] )|(?<![\s\S]{2})(?<= ))//[^\n]*|(?<![^\s;{}(),])/\*[\s\S]*?\*/"
    )
    return re.sub(pattern, lambda match: " " * len(match[0]), text)


def plain_runs(text: str) -> list[tuple[str | int, ...]]:
    """Give the renamed runs of a text by looking at one token after the other."""
    tokens = re.findall(r"[0-9A-Za-z_\x80-\U0010ffff]+|[!-~]", comments_of(text).replace("'", '"').replace("`", '"'))
    fixed = [
        token in KEYWORDS or (token in BUILT_IN and following == "(") for token, following in pairwise([*tokens, ""])
    ]
    runs = []
    for start in range(len(tokens) - GRAM_TOKENS + 1):
        names: dict[str, int] = {}
        run = []
        for place in range(start, start + GRAM_TOKENS):
            token = tokens[place]
            is_name = not token[0].isascii() or token[0].isalpha() or token[0] == "_"
            run.append(names.setdefault(token, len(names)) if is_name and not fixed[place] else token)
        runs.append(tuple(run))
    return runs


def plain_similarity(text: str, solution: str) -> float:
    """Compare a solution with every window of its length."""
    runs, known = plain_runs(text), plain_runs(solution)
    windows = [set(runs[start : start + len(known)]) for start in range(max(len(runs) - len(known) + 1, 1))]
    return max(len(window & set(known)) / len(window | set(known)) for window in windows)


MARKS = ["(", ")", "'", '"', '"""', "'''", "#", "//", "/*", "*/", "=", ";", "{", "}", ",", "."]
SPACES = ["\n", " ", "  ", "\t"]
NAMES = [
    "a",
    "b",
    "total",
    "return",
    "x_1",
    "_",
    "len",
    "len(",
    "é",
    "ßtraße",
    "12",
    "0x1F",
    "name_" * 20,
    "name_" * 21,
]
CODE = st.lists(st.sampled_from([*MARKS, *SPACES, *NAMES]), max_size=60).map("".join)


@given(st.lists(CODE, min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_runs_are_equal_where_a_plain_comparison_says_so(texts):
    grams = grams_of(join_texts([text.encode() for text in texts]))
    plain = [run for text in texts for run in plain_runs(text)]
    assert len(grams.hashes) == len(plain)
    assert grams.owners.tolist() == [number for number, text in enumerate(texts) for _ in plain_runs(text)]
    numbers: dict[object, int] = {}
    hashes: dict[int, int] = {}
    assert [numbers.setdefault(run, len(numbers)) for run in plain] == [
        hashes.setdefault(value, len(hashes)) for value in grams.hashes.tolist()
    ]


@given(st.lists(CODE, min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_comments_are_those_of_the_regular_expression(texts):
    joined = join_texts([text.encode() for text in texts])
    data = bytearray(joined.data)
    for start, end in zip(*comment_spans(joined.data), strict=True):
        data[start:end] = b" " * (end - start)
    blanked = [
        bytes(data[start : end - 1]).split() for start, end in zip(joined.starts, joined.starts[1:], strict=False)
    ]
    assert blanked == [comments_of(text).encode().split() for text in texts]


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_similarities_are_those_of_a_plain_comparison(data):
    """Pieces of real solutions, mixed, so that many windows lie near the threshold."""
    names = data.draw(st.lists(st.sampled_from(sorted(RENAMED)), min_size=1, max_size=4))
    texts = []
    for name in names:
        solution = data.draw(st.sampled_from([ITEMS[name].solutions[0], RENAMED[name]]))
        lines = solution.splitlines()
        start = data.draw(st.integers(0, 2))
        end = data.draw(st.integers(len(lines) - 2, len(lines)))
        texts.append(
            "\n".join(["other = [thing(4) for thing in things]"] * data.draw(st.integers(0, 3)) + lines[start:end])
        )
    texts = ["\n".join(texts[:2]), "\n".join(texts[2:])]
    found = {
        (copy.text, INDEX.items[int(INDEX.renamed.items[copy.solution])].name): copy.similarity
        for copy in renamed_copies(join_texts([text.encode() for text in texts]), INDEX.renamed)
    }
    expected = {
        (number, item.name): plain_similarity(text, item.solutions[0])
        for number, text in enumerate(texts)
        for item in HUMANEVAL
        if len(set(plain_runs(item.solutions[0]))) >= FEWEST_GRAMS and text.strip()
    }
    expected = {key: value for key, value in expected.items() if value >= RULES.near_similarity}
    assert found == pytest.approx(expected)


def test_rarity_only_changes_the_speed():
    """A sample of the documents orders the runs; what is found stays."""
    text = "\n".join(RENAMED.values()).encode()
    sampled = build_index(HUMANEVAL, RULES, sample=[text, SOURCE.encode()])
    assert np.any(sampled.renamed.rare.numbers != INDEX.renamed.rare.numbers) or len(
        sampled.renamed.rare.numbers
    ) != len(INDEX.renamed.rare.numbers)
    assert hits_in([text], sampled) == hits_in([text], INDEX)


def test_other_languages_and_their_comments():
    solution = """
  let longest = 0;
  for (let i = 0; i < words.length; i++) {
    if (words[i].length > longest && !words[i].startsWith("_")) {
      longest = words[i].length; /* the best so far */
    }
  }
  return longest;
"""
    renamed = """
function widest(columns) {
    // start with nothing
    let best = 0;   // columns
    for (let at = 0; at < columns.length; at++)
    {
        /* those that begin with '_' are
           private: they do not count */
        if (columns[at].length > best && !columns[at].startsWith('_'))
        {
            best = columns[at].length;  // wider
        }
    }
    return best;
}
"""
    index = build_index([Item("own", "js", (solution,), (solution,))], RULES)
    (hit,) = hits_in([b"import x from 'y';\n" * 30 + renamed.encode() + b"\nexport default widest;\n"], index)
    assert (hit.layer, hit.value) == ("renamed", 1.0)


@pytest.mark.parametrize("first", [0, 6, 12])
def test_a_copy_that_just_reaches_the_threshold_is_found_by_its_common_runs_alone(first):
    """The rarest runs are looked for, and here all that may lack are among them."""
    numbers = [str(number) for number in range(34)]
    solution, copy = " ".join(numbers), " ".join(numbers[first : first + 22])
    item = Item("own", "numbers", (solution,), (solution,))
    index = build_index([item], RULES, sample=[copy.encode()])
    assert len(index.renamed.solutions.numbers) == 30
    (hit,) = hits_in([copy.encode()], index)
    assert hit.value == pytest.approx(18 / 30)
    assert hits_in([copy.rpartition(" ")[0].encode()], index) == []


def test_a_solution_longer_than_any_block_is_found():
    lines = [f"    value_{number} = step(value_{number - 1}, {number}) + {number * 7}" for number in range(400)]
    item = Item("own", "long", ("\n".join(lines),), ("\n".join(lines),))
    index = build_index([item], RULES)
    renamed = "\n".join(lines).replace("value_", "other").replace("step", "go")
    (hit,) = hits_in([b"x = 1\n" * 5000 + renamed.encode() + b"\ny = 2" * 5000], index)
    assert (hit.layer, hit.value) == ("renamed", 1.0)
