"""Near-duplicates against brute force: exact Jaccard similarity over all pairs."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from near import (
    RULES,
    deduplicated,
    document,
    kept_ids,
    real_texts,
    reasons_of,
    shingles,
    similarity,
    texts_of,
    true_pairs,
    write_run,
)

from data_prep.decisions import write_decisions
from data_prep.near_duplicates.planted import chance_of_a_shared_band
from data_prep.near_duplicates.survey import NONE
from data_prep.parts import part_names, tags_of

EXACT = "exact_duplicate"


class Found(NamedTuple):
    """A deduplicated run of real and altered files, and what brute force says of them."""

    run_dir: Path
    manifest: dict
    texts: dict[bytes, str]
    similarities: dict[tuple[bytes, bytes], float]

    @property
    def truth(self) -> set[tuple[bytes, bytes]]:
        """Give the pairs that are to be found."""
        return {pair for pair, value in self.similarities.items() if value >= RULES["similarity"]}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Found:
    run_dir = write_run(
        tmp_path_factory.mktemp("near"), [document(text, path=str(n)) for n, text in enumerate(real_texts(7))]
    )
    manifest = deduplicated(run_dir)
    reasons = reasons_of(run_dir)
    texts = {identity: text for identity, text in texts_of(run_dir).items() if reasons.get(identity) != EXACT}
    return Found(run_dir, manifest, texts, true_pairs(texts))


def clusters_in(run_dir: Path) -> list[dict]:
    return pq.read_table(run_dir / "deduplicate" / "clusters.parquet").to_pylist()


def test_as_many_pairs_are_found_as_the_bands_promise(found):
    chances = [1 - (1 - found.similarities[pair] ** RULES["rows_per_band"]) ** RULES["bands"] for pair in found.truth]
    deviation = math.sqrt(sum(chance * (1 - chance) for chance in chances))
    assert len(found.truth) > 100
    assert abs(found.manifest["verified_pairs"] - sum(chances)) < 4 * deviation + 1
    assert found.manifest["verified_pairs"] >= 0.97 * len(found.truth)


def test_every_similarity_in_the_table_is_that_of_brute_force(found):
    rows = [row for row in clusters_in(found.run_dir) if row["kept_copy"] is not None]
    assert len(rows) > 50
    for row in rows:
        pair = tuple(sorted((row["document_id"], row["kept_copy"])))
        assert row["similarity"] == found.similarities[pair] >= RULES["similarity"]


def test_all_dropped_have_a_kept_near_copy_and_no_two_kept_are_near_copies(found):
    kept = kept_ids(found.run_dir)
    copies = {row["document_id"]: row["kept_copy"] for row in clusters_in(found.run_dir)}
    for identity, reason in reasons_of(found.run_dir).items():
        assert reason == EXACT or copies[identity] in kept
    missed = [pair for pair in found.truth if kept.issuperset(pair)]
    assert all(found.similarities[pair] < 0.8 for pair in missed)  # what no band found: 42 x 6 finds 99.7 % at 0.7
    assert len(missed) <= 0.02 * len(found.truth)


def test_clusters_are_the_components_of_the_true_pairs(found):
    neighbours: dict[bytes, set[bytes]] = {}
    for first, second in found.truth:
        neighbours.setdefault(first, set()).add(second)
        neighbours.setdefault(second, set()).add(first)
    rows = clusters_in(found.run_dir)
    ids = [row["document_id"] for row in rows]
    assert ids == sorted(ids)
    members: dict[bytes, set[bytes]] = {}
    for row in rows:
        members.setdefault(row["cluster_id"], set()).add(row["document_id"])
    for cluster, own in members.items():
        assert cluster in own
        reached, waiting = {cluster}, [cluster]
        while waiting:
            fresh = neighbours[waiting.pop()] - reached
            reached |= fresh
            waiting += fresh
        assert own <= reached
        assert len(own) >= 0.9 * len(reached)
    assert found.manifest["clusters"]["documents"] == len(rows)
    assert found.manifest["clusters"]["count"] == len(members)
    assert found.manifest["clusters"]["largest"][0]["size"] == max(map(len, members.values()))


def test_planted_copies_are_found_as_often_as_the_curve_says(found):
    account = found.manifest["planted"]
    above = account["at_or_above_similarity"]
    assert above["pairs"] > 100
    for counts in [above, *account["by_similarity"]]:
        share = counts["expected"] / counts["pairs"]
        deviation = math.sqrt(counts["pairs"] * max(share * (1 - share), 0.01))
        assert abs(counts["found"] - counts["expected"]) < 4 * deviation + 1, counts
    assert sum(counts["pairs"] for counts in account["by_similarity"]) > above["pairs"]


def test_the_curve_is_the_formula():
    rules = type("Rules", (), RULES)
    assert chance_of_a_shared_band(np.array([0.7]), rules)[0] == pytest.approx(1 - (1 - 0.7**6) ** 42)


def test_the_rank_decides_which_copy_stays(tmp_path):
    text = " ".join(f"word{number}" for number in range(100))
    places = {"first": {}, "newest": {"revision_time": 5}, "forked": {"forks": 2}, "starred": {"stars": 1, "forks": 0}}
    documents = [document(f"{text} {name}", path=name, **facts) for name, facts in places.items()]
    run_dir = write_run(tmp_path, documents)
    deduplicated(run_dir)
    assert kept_ids(run_dir) == {documents[-1].document_id}


def test_copies_are_found_across_sources_and_parts(tmp_path):
    text = " ".join(f"word{number}" for number in range(100))
    near, equal = text + " more", text.replace(" ", "\n\t")
    documents = [
        document(text, source="code", path="a", stars=9),
        document(near, source="related", path="b"),
        document(equal, source="general", path="c"),
        document("an only child of quite other words", source="related", path="d"),
    ]
    run_dir = write_run(tmp_path, documents, per_part=1)
    manifest = deduplicated(run_dir)
    assert reasons_of(run_dir) == {
        documents[1].document_id: "near_duplicate",
        documents[2].document_id: "exact_duplicate",
    }
    assert manifest["sources"]["general"]["documents_out"] == 0
    assert manifest["removed"]["general"]["exact_duplicate"]["documents"] == 1


def test_short_texts_are_matched_by_exact_hash_only(tmp_path):
    documents = [document(text, path=str(n)) for n, text in enumerate(["a b c d", "a b c d!", "a  b\nc d", "", " "])]
    run_dir = write_run(tmp_path, documents)
    manifest = deduplicated(run_dir)
    assert manifest["searched_documents"] == 0
    assert sorted(reasons_of(run_dir).values()) == ["exact_duplicate", "exact_duplicate"]


def test_documents_that_the_filter_dropped_are_nobodys_copies(tmp_path):

    text = " ".join(f"word{number}" for number in range(100))
    run_dir = write_run(tmp_path, [document(text, path="a", stars=9), document(text + " more", path="b")], per_part=1)
    part = part_names(run_dir)[0]
    write_decisions(run_dir / "filter", part, tags_of(run_dir, part), np.ones(1, dtype=bool), ["too_long"])
    deduplicated(run_dir)
    assert len(kept_ids(run_dir)) == 1
    assert reasons_of(run_dir) == {}


def test_a_run_without_near_duplicates_has_an_empty_table(tmp_path):
    run_dir = write_run(tmp_path, [document("one two three four five six seven")])
    manifest = deduplicated(run_dir)
    assert clusters_in(run_dir) == []
    assert manifest["clusters"] == {"count": 0, "documents": 0, "sizes": {}, "largest": []}
    assert NONE not in kept_ids(run_dir)


def test_equal_words_in_other_punctuation_are_near_duplicates_of_similarity_one(tmp_path):
    rng = random.Random(3)
    words = [f"w{rng.random()}" for _ in range(60)]
    run_dir = write_run(tmp_path, [document(separator.join(words), path=separator) for separator in (" ", "(", ";\n")])
    deduplicated(run_dir)
    rows = clusters_in(run_dir)
    assert [row["similarity"] for row in rows if row["kept_copy"]] == [1.0, 1.0]
    assert similarity(shingles(" ".join(words)), shingles("(".join(words))) == 1.0


def test_a_filter_that_left_nothing_leaves_nothing_to_search(tmp_path):
    run_dir = write_run(
        tmp_path, [document("one two three four five six seven"), document("eight", path="b")], per_part=1
    )
    for part in part_names(run_dir):
        write_decisions(run_dir / "filter", part, tags_of(run_dir, part), np.ones(1, dtype=bool), ["too_long"])
    manifest = deduplicated(run_dir)
    assert manifest["sources"]["code"]["documents_in"] == manifest["searched_documents"] == 0
    assert clusters_in(run_dir) == []
