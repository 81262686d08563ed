"""Which documents a view takes: by language, by length, and up to a size in order of document id."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from preparing import STDLIB, copy_of_stdlib, mini_recipe

from codellama_train.recipe.data import DataRecipe
from codellama_train.tokens.shards import ShardSet
from data_prep.parts import kept_by, only, part_names, tags_of
from data_prep.pipeline import prepare
from data_prep.split import is_held_out_by_part

KILOBYTES = 50
VIEWS = {
    "all": {"source": "code", "cut": "files"},
    "long": {"source": "code", "cut": "files", "min_document_kilobytes": KILOBYTES},
    "capped": {"source": "code", "cut": "files", "max_megabytes": 1},
    "python": {"source": "code", "cut": "files", "languages": ["python"]},
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> DataRecipe:
    corpus = copy_of_stdlib(tmp_path_factory.mktemp("library"), files_per_module=5)
    for path in sorted(STDLIB.glob("*.py"), key=lambda path: path.stat().st_size)[-30:]:
        (corpus / path.name).write_bytes(path.read_bytes())
    held_out = {"fraction": 0.3, "seed": 1, "min_repositories": 4}
    made = mini_recipe(tmp_path_factory.mktemp("runs"), corpus, shards=VIEWS, held_out=held_out)
    prepare(made)
    return made


def documents_of(run_dir: Path, *, held_out: bool) -> list[dict[str, object]]:
    """Read by hand which documents of the code source are on a side, in order of id."""
    rows: list[dict[str, object]] = []
    for part in part_names(run_dir):
        side = kept_by(run_dir, "split", part) & (is_held_out_by_part(run_dir, part) == held_out)
        rows += only(tags_of(run_dir, part, ["document_id", "source", "num_bytes"]), side).to_pylist()
    return sorted((row for row in rows if row["source"] == "code"), key=lambda row: row["document_id"])  # type: ignore[arg-type,return-value]


def ids_in(run_dir: Path, view: str, split: str) -> set[bytes]:
    shards = ShardSet(run_dir / "shards" / view / split)
    return {shards.document_id(number) for number in range(shards.num_documents)}


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_a_view_of_long_documents_has_those_and_no_others(recipe, split):
    documents = documents_of(recipe.run_dir, held_out=split == "held_out")
    long = {row["document_id"] for row in documents if row["num_bytes"] >= KILOBYTES * 1_000}
    assert long
    assert ids_in(recipe.run_dir, "long", split) == long
    assert ids_in(recipe.run_dir, "all", split) == {row["document_id"] for row in documents}


def test_a_capped_view_takes_training_documents_in_order_of_id_until_it_is_full(recipe):
    taken, total = set(), 0
    for row in documents_of(recipe.run_dir, held_out=False):
        if total < 1_000_000:
            taken.add(row["document_id"])
            total += row["num_bytes"]
    assert ids_in(recipe.run_dir, "capped", "train") == taken < ids_in(recipe.run_dir, "all", "train")
    assert ids_in(recipe.run_dir, "capped", "held_out") == ids_in(recipe.run_dir, "all", "held_out")


def test_pieces_name_the_documents_they_were_cut_from(recipe):
    for split in ("train", "held_out"):
        table = pq.read_table(recipe.run_dir / f"shards/all/{split}.parquet")
        assert set(table["parent_id"].to_pylist()) == ids_in(recipe.run_dir, "all", split)
