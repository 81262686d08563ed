"""Candidates for near-duplicates: MinHash signatures cut into bands, with Daft, in a process of its own.

Daft is before its first major release and owns threads, so it never runs in the parent; the parent judges the child by
the manifest it leaves, because an abort at interpreter exit can follow a complete result.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codellama_train import artifacts
from codellama_train.console import Progress, log_to_standard_error, with_progress
from codellama_train.recipe.data_duplicates import Deduplication
from data_prep.words import SEPARATORS

PARTS_AT_A_TIME = 8
SEED = 1  # of the permutations: part of what a stored signature means
QUIET = {"DAFT_ANALYTICS_ENABLED": "0", "DO_NOT_TRACK": "true", "DAFT_PROGRESS_BAR": "0"}


def candidate_buckets(
    folder: Path, parts: Sequence[Path], document_ids: Sequence[bytes], rules: Deduplication
) -> list[list[int]]:
    """Give, band by band, the groups of documents whose signatures agree in that band, as indices into `document_ids`.

    `folder` is scratch space. Groups and their members are sorted, so the order never depends on the engine.
    """
    if not document_ids:
        return []
    wanted = pa.table(
        {"row": pa.array(range(len(document_ids)), pa.uint64()), "document_id": pa.array(document_ids, pa.binary(16))}
    )
    pq.write_table(wanted, folder / "wanted.parquet")
    output = folder / "buckets"
    child = multiprocessing.get_context("spawn").Process(
        target=_write_buckets, args=(folder, list(parts), output, rules)
    )
    child.start()
    child.join()
    if artifacts.read_manifest(output) is None:
        raise RuntimeError(f"the MinHash process left no result; it ended with exit code {child.exitcode}")
    artifacts.verify_manifest(output)
    return [bucket for path in sorted(output.glob("*.parquet")) for bucket in _sorted_buckets(path)]


def _sorted_buckets(path: Path) -> list[list[int]]:
    return sorted(sorted(members) for members in pq.read_table(path)["rows"].to_pylist())


def _write_buckets(folder: Path, parts: list[Path], output: Path, rules: Deduplication) -> None:
    """Write for each band the groups of more than one document; runs in the child."""
    _log_progress_only()
    os.environ.update(QUIET)
    import daft

    bands = folder / "bands"
    chunks = [parts[start : start + PARTS_AT_A_TIME] for start in range(0, len(parts), PARTS_AT_A_TIME)]
    progress = Progress("deduplicate: signatures", total=len(parts), unit="parts")
    for chunk in chunks:
        _signature_bands(daft, folder, chunk, rules).write_parquet(str(bands))
        progress.advance(len(chunk))
    with artifacts.new_folder(output) as finished:
        names = band_names(rules.bands)
        for name in with_progress(names, "deduplicate: bands", total=rules.bands, unit="bands"):
            # One band at a time, with the two narrow columns only: what bounds the memory.
            documents = daft.read_parquet(str(bands / "*.parquet")).select("row", name)
            groups = documents.groupby(name).agg(
                daft.col("row").list_agg().alias("rows"), daft.col("row").count().alias("size")
            )
            table = groups.where(daft.col("size") > 1).select("rows").to_arrow()
            pq.write_table(table, finished / f"{name}.parquet")
        artifacts.write_manifest(finished, {"bands": rules.bands})


def _log_progress_only() -> None:
    """Set up the child's logging: Daft would tell every operator."""
    log_to_standard_error()
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger(Progress.__module__).setLevel(logging.INFO)


def _signature_bands(daft: Any, folder: Path, parts: Sequence[Path], rules: Deduplication) -> Any:
    """Plan the signatures of all documents, reduced to one hash per band."""
    from daft import functions

    column = daft.col
    wanted = daft.read_parquet(str(folder / "wanted.parquet"))
    # Ids stay fixed-size binary: casting them to binary allocates without bound in Daft 0.7.26.
    documents = daft.read_parquet([str(part) for part in parts]).select("document_id", "text")
    # Daft's MinHash splits at the space byte only: everything that separates words becomes one space first.
    words = functions.strip(functions.regexp_replace(column("text"), SEPARATORS, " "))
    signature = functions.minhash(words, num_hashes=rules.permutations, ngram_size=rules.ngram_words, seed=SEED)
    rows = rules.rows_per_band
    return (
        documents.join(wanted, on="document_id")
        .select("row", signature.alias("signature"))
        .select(
            "row",
            *(
                functions.hash(functions.slice(column("signature"), band * rows, (band + 1) * rows)).alias(name)
                for band, name in enumerate(band_names(rules.bands))
            ),
        )
    )


def band_names(bands: int) -> list[str]:
    """Name the bands' columns."""
    return [f"band_{band:03d}" for band in range(bands)]
