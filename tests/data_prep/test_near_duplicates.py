"""Near-duplicates against brute force: exact Jaccard similarity over all pairs."""

from __future__ import annotations

import math
import random
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from preparing import MODULES, STDLIB

from codellama_train.recipe.data_duplicates import Deduplication
from data_prep.deduplicate import equal_copies, ranks
from data_prep.documents import Document, PartWriter, digest
from data_prep.minhash import candidate_buckets
from data_prep.similarity import (
    FULLY_COMPARED,
    SimilarPair,
    candidate_pairs,
    components,
    jaccard,
    kept_copies,
    other,
    shingles,
    verified,
)
from data_prep.words import ngrams, num_words, words_of

RULES = Deduplication(ngram_words=5, permutations=256, bands=25, rows_per_band=10, similarity=0.7)


def corpus() -> list[str]:
    """Real files, and copies of them with more and more of their lines replaced."""
    rng = random.Random(7)
    texts = []
    for module in MODULES:
        for path in sorted((STDLIB / module).glob("*.py"))[:6]:
            lines = path.read_text("utf-8").splitlines()[:200]
            texts.append("\n".join(lines))
            for replaced in (0.01, 0.05, 0.1, 0.2):
                copy = [f"new_{rng.random()}" if rng.random() < replaced else line for line in lines]
                texts.append("\r\n".join("\t" + line for line in copy))  # other white space must not matter
    return [text for text in texts if num_words(text) >= 2 * RULES.ngram_words]


def written(folder: Path, documents: list[Document]) -> list[Path]:
    writer = PartWriter(folder, "code", 0)
    for document in documents:
        writer.add(document)
    writer.flush()
    return sorted(folder.glob("documents-*.parquet"))


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> tuple[dict[int, str], list[tuple[int, int]], list[SimilarPair]]:
    """Texts by index, the candidates that Daft gives, and the verified pairs."""
    folder = tmp_path_factory.mktemp("near")
    documents = [
        Document(digest(str(index).encode()), text, "s", "python", "r", str(index))
        for index, text in enumerate(corpus())
    ]
    parts = written(folder, documents)
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    texts = {index: row["text"] for index, row in enumerate(rows)}
    scratch = tmp_path_factory.mktemp("scratch")
    buckets = candidate_buckets(scratch, parts, [row["document_id"] for row in rows], RULES)
    candidates = candidate_pairs(buckets, list(range(len(rows))))
    pairs = list(verified(candidates, texts, ngram_words=5, similarity=0.7))
    return texts, candidates, pairs


def chance_of_a_shared_band(similarity: float) -> float:
    return 1 - (1 - similarity**RULES.rows_per_band) ** RULES.bands


def true_pairs(texts: dict[int, str]) -> dict[tuple[int, int], float]:
    sets = {index: shingles(text, RULES.ngram_words) for index, text in texts.items()}
    return {(a, b): jaccard(sets[a], sets[b]) for a, b in combinations(sorted(sets), 2)}


def test_verified_pairs_are_those_of_brute_force(found):
    texts, _, pairs = found
    similarity = true_pairs(texts)
    truth = {pair for pair, value in similarity.items() if value >= RULES.similarity}
    ours = {(pair.first, pair.second): pair.similarity for pair in pairs}
    assert ours.keys() <= truth  # every one is real …
    assert all(ours[pair] == similarity[pair] for pair in ours)  # … with its exact similarity
    assert len(truth) > 100
    chances = [chance_of_a_shared_band(similarity[pair]) for pair in truth]
    deviation = math.sqrt(sum(chance * (1 - chance) for chance in chances))
    assert abs(len(ours) - sum(chances)) < 4 * deviation + 1
    assert all(similarity[pair] < 0.9 for pair in truth - ours.keys())


def test_candidates_include_every_pair_that_differs_in_white_space_only(found):
    texts, candidates, _ = found
    equal = [pair for pair, value in true_pairs(texts).items() if value == 1.0]
    assert set(equal) <= set(candidates)


def test_removal_keeps_a_near_copy_of_all_it_drops_and_no_two_near_copies(found):
    texts, _, pairs = found
    dropped = kept_copies(pairs, list(range(len(texts))))
    kept = texts.keys() - dropped.keys()
    assert all(pair.first not in kept or pair.second not in kept for pair in pairs)
    assert all(other(pair, index) in kept for index, pair in dropped.items())
    assert all(other(pair, index) < index for index, pair in dropped.items())


SOME_PAIRS = st.lists(
    st.tuples(st.integers(0, 15), st.integers(0, 15)).filter(lambda pair: pair[0] != pair[1]), max_size=40
)


@given(SOME_PAIRS, st.randoms(use_true_random=False))
def test_removal_rule_holds_for_any_graph_and_rank(edges, rng):
    pairs = [SimilarPair(min(edge), max(edge), 0.8) for edge in sorted({(min(e), max(e)) for e in edges})]
    rank = list(range(16))
    rng.shuffle(rank)
    dropped = kept_copies(pairs, rank)
    kept = set(range(16)) - dropped.keys()
    assert not any(pair.first in kept and pair.second in kept for pair in pairs)
    assert all(other(pair, index) in kept and rank[other(pair, index)] < rank[index] for index, pair in dropped.items())


@given(SOME_PAIRS)
def test_components_are_those_of_plain_search(edges):
    clusters = components([SimilarPair(a, b, 1.0) for a, b in edges])
    neighbours: dict[int, set[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    for start in neighbours:
        reached, waiting = {start}, [start]
        while waiting:
            for following in neighbours[waiting.pop()] - reached:
                reached.add(following)
                waiting.append(following)
        assert clusters[start] == min(reached)
        assert {index for index, cluster in clusters.items() if cluster == clusters[start]} == reached


def test_no_documents_have_no_candidates(tmp_path):
    assert candidate_buckets(tmp_path, [], [], RULES) == []


def test_documents_that_are_not_asked_for_are_no_candidates(tmp_path):
    text = " ".join(f"word{number}" for number in range(50))
    documents = [Document(digest(bytes([n])), text, "s", "c", "r", str(n)) for n in range(3)]
    parts = written(tmp_path, documents)
    wanted = sorted(document.document_id for document in documents)[1:]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert candidate_buckets(scratch, parts, wanted, RULES) == [[0, 1]] * RULES.bands


def test_a_large_bucket_is_compared_with_its_best_members():
    members = list(range(FULLY_COMPARED + 10))
    rank = members[::-1]  # the last index is the best
    pairs = candidate_pairs([members], rank)
    best = members[-FULLY_COMPARED:]
    assert set(pairs) == {(a, b) for a, b in combinations(members, 2) if a in best or b in best}


def test_equal_texts_keep_the_best_ranked():
    assert equal_copies([b"a", b"b", b"a", b"a"], rank=[2, 0, 1, 3]) == [0, 3]


def test_rank_prefers_stars_then_newest_then_longest_then_id():
    table = pa.table(
        {
            "document_id": pa.array([bytes([n] * 16) for n in range(5)], pa.binary(16)),
            "stars": pa.array([None, 5, None, None, None], pa.int64()),
            "revision_time": pa.array([None, None, 9, None, None], pa.timestamp("s", tz="UTC")),
            "num_characters": pa.array([1, 1, 1, 3, 1], pa.int64()),
        }
    )
    assert ranks(table) == [3, 0, 1, 2, 4]


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
