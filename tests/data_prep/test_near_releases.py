"""Documents of an earlier release are not released again; the earlier run is only read, and only if it fits."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from near import deduplicated, document, kept_ids, real_texts, reasons_of, shingles, similarity, texts_of, write_run
from test_near_scaling import bytes_of

from codellama_train import artifacts
from codellama_train.console import UserError


def words(name: str, count: int = 100) -> list[str]:
    return [f"{name}{number}" for number in range(count)]


FIRST, SECOND, DROPPED = " ".join(words("first")), " ".join(words("second")), " ".join(words("first")) + " dropped"


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> Path:
    """A release of two documents, from which a near copy of the first was dropped."""
    folder = write_run(
        tmp_path_factory.mktemp("earlier"),
        [document(FIRST, path="first", stars=9), document(DROPPED, path="dropped"), document(SECOND, path="second")],
        per_part=2,
    )
    deduplicated(folder)
    return folder


def released(run_dir: Path) -> dict[bytes, dict]:
    rows = [
        row for path in sorted((run_dir / "deduplicate").glob("released-*")) for row in pq.read_table(path).to_pylist()
    ]
    return {row["document_id"]: row for row in rows}


def test_copies_of_an_earlier_release_go_and_name_what_they_repeat(tmp_path, earlier):
    before = bytes_of(earlier)
    near = [*words("first", 96), *words("new", 4)]
    documents = {
        "equal": document(FIRST.replace(" ", "\n"), path="equal"),
        "near": document(" ".join(near), path="near"),
        "equal to a near one": document("\t".join(near), path="equal to a near one"),
        "fresh": document(" ".join(words("fresh")), path="fresh"),
        "equal to what was dropped": document(DROPPED, path="again"),
    }
    run_dir = write_run(tmp_path / "new", list(documents.values()), per_part=2)
    manifest = deduplicated(run_dir, against=[str(earlier)])
    reasons = {name: reasons_of(run_dir).get(each.document_id) for name, each in documents.items()}
    assert reasons["equal"] == "exact_duplicate_of_earlier_release"
    assert {reasons["near"], reasons["equal to a near one"]} == {"near_duplicate_of_earlier_release", "exact_duplicate"}
    assert reasons["fresh"] is None
    assert reasons["equal to what was dropped"] == "near_duplicate_of_earlier_release"
    first = document(FIRST, path="first").document_id
    for identity, row in released(run_dir).items():
        assert (row["release"], row["match"]) == (str(earlier), first)
        assert row["similarity"] == similarity(shingles(texts_of(run_dir)[identity]), shingles(FIRST))
    assert manifest["removed"]["code"]["near_duplicate_of_earlier_release"]["documents"] == 2
    assert bytes_of(earlier) == before


def test_a_copy_of_a_document_that_repeats_an_earlier_one_stays_if_it_does_not(tmp_path, earlier):
    middle = [*words("first", 90), *words("new", 10)]  # near the earlier document, 0.78
    far = [*words("first", 80), *words("new", 20)]  # near the middle one, but not near the earlier one
    documents = [document(" ".join(middle), path="middle", stars=9), document(" ".join(far), path="far")]
    run_dir = write_run(tmp_path / "new", documents)
    deduplicated(run_dir, against=[str(earlier)])
    assert reasons_of(run_dir) == {documents[0].document_id: "near_duplicate_of_earlier_release"}


def test_two_earlier_releases_are_searched_like_one_run_of_all(tmp_path):
    texts = real_texts(5)
    random.Random(1).shuffle(texts)
    third = len(texts) // 3
    folders = []
    for number in range(2):
        own = [
            document(text, path=f"{number}/{n}") for n, text in enumerate(texts[number * third : (number + 1) * third])
        ]
        folders.append(write_run(tmp_path / str(number), own, per_part=7))
        deduplicated(folders[-1])
    run_dir = write_run(
        tmp_path / "new", [document(text, path=str(n)) for n, text in enumerate(texts[2 * third :])], per_part=7
    )
    deduplicated(run_dir, against=[str(folder) for folder in folders])
    known = {
        (str(folder), identity): shingles(text)
        for folder in folders
        for identity, text in texts_of(folder).items()
        if identity in kept_ids(folder)
    }
    ours, reasons = released(run_dir), reasons_of(run_dir)
    missed = 0
    for identity, text in texts_of(run_dir).items():
        own = shingles(text)
        best = max(similarity(own, other) for other in known.values())
        if identity in ours:
            row = ours[identity]
            assert row["similarity"] == similarity(own, known[row["release"], row["match"]]) >= 0.7
            assert best - row["similarity"] < 0.1
            assert reasons[identity].endswith("_of_earlier_release")
        elif reasons.get(identity) is None:
            missed += best >= 0.7
    assert len(ours) > 20
    assert missed <= 1


def test_an_index_of_another_kind_is_refused(tmp_path, earlier):
    run_dir = write_run(tmp_path / "new", [document(FIRST)])
    with pytest.raises(
        UserError, match=r"deduplication\.against: .* was indexed with bands=42 and this recipe has bands=25"
    ):
        deduplicated(run_dir, against=[str(earlier)], bands=25, rows_per_band=10)


def test_an_index_of_another_kernel_is_refused(tmp_path, earlier):
    run_dir = write_run(tmp_path / "new", [document(FIRST)])
    copied = tmp_path / "copied"
    for name in ("ingest", "tag", "deduplicate"):
        manifest = json.loads((earlier / name / "manifest.json").read_text())
        if name == "deduplicate":
            manifest["index"]["version"]["probe"] = "another"
        manifest.pop("checksum")
        (copied / name).mkdir(parents=True)
        artifacts.write_manifest(copied / name, manifest)
    with pytest.raises(UserError, match="indexed with probe='another'"):
        deduplicated(run_dir, against=[str(copied)])


@pytest.mark.parametrize("stage", ["ingest", "deduplicate"])
def test_a_release_that_is_not_there_or_not_finished_is_refused(tmp_path, earlier, stage):
    run_dir = write_run(tmp_path / "new", [document(FIRST)])
    copied = tmp_path / "copied"
    for name in {"ingest", "tag", "deduplicate"} - {stage}:
        (copied / name).mkdir(parents=True)
        (copied / name / "manifest.json").write_bytes((earlier / name / "manifest.json").read_bytes())
    with pytest.raises(
        UserError, match=rf"deduplication\.against: .*copied has no finished {stage} stage; name the folder"
    ):
        deduplicated(run_dir, against=[str(copied)])
