"""Shards: documents as token ids on disk, whole and untransformed, read without copying.

A shard set is a folder: for each shard `NNNNN.tokens` (little-endian ids), `.ends` (one uint64 per document: the index
after its last token), `.ids` (16 bytes per document), `.exact` (one byte per document: decoding gives the text back)
and, for dialogues, `.predicted` (one byte per token). `manifest.json` names the tokenizer and the counts.

Ordinary documents are stored without BOS and EOS, which packing adds; dialogues carry their own.
"""

from __future__ import annotations

import mmap
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.tokens.exactness import InexactCause
from codellama_train.tokens.tokenizer import IdArray

ShardKind = Literal["documents", "dialogues"]
DOCUMENT_ID_BYTES = 16
TOKENS_PER_SHARD = 1 << 28
SUFFIXES = ("tokens", "ends", "ids", "exact", "predicted")


@dataclass(frozen=True)
class TokenizedDocument:
    """One document of a shard. `predicted` marks the tokens the loss counts; None means all of them.

    `inexact_cause` says why a document is not exact; None where nobody asked.
    """

    document_id: bytes
    ids: Sequence[int] | IdArray
    is_exact: bool
    predicted: Sequence[bool] | npt.NDArray[np.bool_] | None = None
    inexact_cause: InexactCause | None = None


def dtype_for(vocabulary_size: int) -> np.dtype[Any]:
    """Give the narrowest token type that holds every id of the vocabulary."""
    return np.dtype("<u2") if vocabulary_size <= 1 << 16 else np.dtype("<u4")


class ShardWriter:
    """Writes a shard set into an empty folder; the manifest, and so completeness, comes with a clean exit.

    Use as a context manager; `facts` (source, language, …) are copied into the manifest.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kind: ShardKind,
        tokenizer_fingerprint: str,
        vocabulary_size: int,
        facts: dict[str, Any],
        tokens_per_shard: int = TOKENS_PER_SHARD,
    ) -> None:
        self._folder, self._kind = folder, kind
        self._dtype, self._vocabulary_size = dtype_for(vocabulary_size), vocabulary_size
        self._tokens_per_shard = tokens_per_shard
        self._contents = {
            "kind": kind,
            "tokenizer": tokenizer_fingerprint,
            "vocabulary_size": vocabulary_size,
            "dtype": self._dtype.str,
            **facts,
        }
        self._files: dict[str, BinaryIO] = {}
        self._shards: list[dict[str, int]] = []
        self._inexact: Counter[InexactCause] = Counter()
        self._longest = 0

    def __enter__(self) -> ShardWriter:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._open_shard()
        return self

    def add(self, document: TokenizedDocument) -> None:
        """Append one document."""
        if len(document.document_id) != DOCUMENT_ID_BYTES:
            raise ValueError(f"document ids have {DOCUMENT_ID_BYTES} bytes, not {len(document.document_id)}")
        ids = self._checked(document)
        if self._shards[-1]["tokens"] >= self._tokens_per_shard:
            self._close_shard()
            self._open_shard()
        shard = self._shards[-1]
        shard["tokens"] += len(ids)
        shard["documents"] += 1
        self._files["tokens"].write(ids.astype(self._dtype).tobytes())
        self._files["ends"].write(np.asarray([shard["tokens"]], dtype="<u8").tobytes())
        self._files["ids"].write(document.document_id)
        self._files["exact"].write(bytes([document.is_exact]))
        if self._kind == "dialogues":
            assert document.predicted is not None, "a dialogue says which of its tokens are predicted"
            assert len(document.predicted) == len(ids), (len(document.predicted), len(ids))
            self._files["predicted"].write(np.asarray(document.predicted, dtype=np.uint8).tobytes())
        if not document.is_exact:
            self._inexact[document.inexact_cause or "other"] += 1
        self._longest = max(self._longest, len(ids))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_shard()
        if kind is None:
            totals = {name: sum(shard[name] for shard in self._shards) for name in ("documents", "tokens")}
            more = {
                "inexact_documents": self._inexact.total(),
                "inexact_by_cause": dict(sorted(self._inexact.items())),
                "longest_document": self._longest,
                "shards": self._shards,
            }
            artifacts.write_manifest(self._folder, {**self._contents, **totals, **more})

    def _checked(self, document: TokenizedDocument) -> IdArray:
        """Give a document's ids as they are; refuses what no row of the embedding belongs to."""
        assert document.is_exact <= (document.inexact_cause is None), document.inexact_cause
        ids = np.asarray(document.ids, dtype=None if len(document.ids) else self._dtype)
        wrong = (
            [bound for bound in (ids.min(), ids.max()) if not 0 <= bound < self._vocabulary_size] if len(ids) else []
        )
        if wrong:
            raise UserError(
                f"document {document.document_id.hex()} for {self._folder} holds the id {wrong[0]:,}, but its "
                f"tokenizer's ids are 0 to {self._vocabulary_size - 1:,}; encode it with the tokenizer that the shards "
                "are written for"
            )
        return ids

    def _open_shard(self) -> None:
        stem = self._folder / f"{len(self._shards):05d}"
        names = SUFFIXES if self._kind == "dialogues" else SUFFIXES[:-1]
        self._files = {name: stem.with_suffix("." + name).open("wb") for name in names}
        self._shards.append({"documents": 0, "tokens": 0})

    def _close_shard(self) -> None:
        for file in self._files.values():
            file.close()


class ShardSet:
    """Reads a shard set; documents are numbered through all its shards in stored order."""

    def __init__(self, folder: Path) -> None:
        manifest = artifacts.read_manifest(folder)
        if manifest is None or "kind" not in manifest:
            raise UserError(f"there are no finished shards at {folder}; scripts/prepare_data.py writes them")
        self.folder, self.manifest = folder, manifest
        self.kind: ShardKind = manifest["kind"]
        self.num_documents: int = manifest["documents"]
        self.num_tokens: int = manifest["tokens"]
        if not self.num_documents:
            raise UserError(f"the shards at {folder} hold no documents; its data recipe's report says why")
        if not self.num_tokens:
            raise UserError(
                f"the shards at {folder} hold {self.num_documents:,} documents without a single token; leave this "
                "source out, or prepare it from files that are not empty"
            )
        self._starts = [0, *accumulate(shard["documents"] for shard in manifest["shards"])]
        self._maps: dict[tuple[int, str], npt.NDArray[Any]] = {}

    def verify(self) -> None:
        """Check every file's checksum and agreement; raises `artifacts.CorruptArtifact` naming the first bad file."""
        artifacts.verify_manifest(self.folder)
        for shard in range(len(self.manifest["shards"])):
            if (np.diff(self._map(shard, "ends").astype(np.int64)) < 0).any():
                raise artifacts.CorruptArtifact(
                    f"{self.path_of(shard, 'ends')} has documents that end before they begin"
                )

    def require_tokenizer(self, fingerprint: str, vocabulary_size: int) -> None:
        """Refuse a model whose tokenizer did not write these shards."""
        if self.manifest["tokenizer"] != fingerprint:
            raise UserError(
                f"the shards at {self.folder} were written with tokenizer {self.manifest['tokenizer'][:12]} "
                f"({self.manifest['vocabulary_size']:,} ids), but the model's is {fingerprint[:12]} "
                f"({vocabulary_size:,} ids); prepare the data again with the model's tokenizer"
            )

    def ids(self, document: int) -> IdArray:
        """Give the token ids of a document, without BOS and EOS unless it is a dialogue. Shape: (tokens,)."""
        return self._tokens_of("tokens", document)

    def predicted(self, document: int) -> npt.NDArray[np.bool_]:
        """Give, for a dialogue, which tokens the loss counts. Shape: (tokens,)."""
        return self._tokens_of("predicted", document).astype(np.bool_)

    def length(self, document: int) -> int:
        """Count the tokens of a document."""
        start, end = self._span(*self._locate(document))
        return end - start

    def has_document_within(self, num_tokens: int) -> bool:
        """Tell whether any document has at most so many tokens; looks no further than the first shard with one."""
        every = (self._map(shard, "ends") for shard in range(len(self.manifest["shards"])))
        return any(bool((np.diff(ends, prepend=np.uint64(0)) <= num_tokens).any()) for ends in every)

    def document_id(self, document: int) -> bytes:
        """Give the 16 bytes that name a document."""
        shard, index = self._locate(document)
        stored = self._map(shard, "ids")[index * DOCUMENT_ID_BYTES : (index + 1) * DOCUMENT_ID_BYTES]
        return bytes(stored)

    def is_exact(self, document: int) -> bool:
        """Tell whether decoding the ids gives the document's text back."""
        shard, index = self._locate(document)
        return bool(self._map(shard, "exact")[index])

    def stored(self, shard: int, name: str) -> npt.NDArray[Any]:
        """Give one file of one shard as it is stored: its tokens, ends, ids, exact or predicted."""
        return self._map(shard, name)

    def path_of(self, shard: int, name: str) -> Path:
        """Name one file of one shard."""
        return (self.folder / f"{shard:05d}").with_suffix("." + name)

    def _tokens_of(self, name: str, document: int) -> npt.NDArray[Any]:
        shard, index = self._locate(document)
        start, end = self._span(shard, index)
        return self._map(shard, name)[start:end]

    def _locate(self, document: int) -> tuple[int, int]:
        if not 0 <= document < self.num_documents:
            raise IndexError(f"document {document} of {self.num_documents} in {self.folder}")
        shard = bisect_right(self._starts, document) - 1
        return shard, document - self._starts[shard]

    def _span(self, shard: int, index: int) -> tuple[int, int]:
        ends = self._map(shard, "ends")
        return (int(ends[index - 1]) if index else 0), int(ends[index])

    def _map(self, shard: int, name: str) -> npt.NDArray[Any]:
        key = (shard, name)
        if key not in self._maps:
            dtype = {"tokens": np.dtype(self.manifest["dtype"]), "ends": np.dtype("<u8")}.get(name, np.dtype("u1"))
            path, num_bytes = self.path_of(shard, name), self._expected_items(shard, name) * dtype.itemsize
            if not path.is_file() or path.stat().st_size != num_bytes:
                raise artifacts.CorruptArtifact(f"{path} does not have the {num_bytes:,} bytes that its manifest says")
            mapped = map_for_random_reads(path, dtype) if num_bytes else np.empty(0, dtype)
            num_tokens = self.manifest["shards"][shard]["tokens"]
            if name == "ends" and len(mapped) and mapped[-1] != num_tokens:
                raise artifacts.CorruptArtifact(f"{path} ends at token {mapped[-1]:,}, its shard at {num_tokens:,}")
            self._maps[key] = mapped
        return self._maps[key]

    def _expected_items(self, shard: int, name: str) -> int:
        counts = self.manifest["shards"][shard]
        per_document = {"ends": 1, "ids": DOCUMENT_ID_BYTES, "exact": 1}
        num_items: int = counts["documents"] * per_document[name] if name in per_document else counts["tokens"]
        return num_items


def map_for_random_reads(path: Path, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Map a file whose next document is anywhere: without the advice, each touch would read megabytes ahead.

    The array does not know of its map, because slices of a memmap cost as much as the tokens of a short document.
    """
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, dtype=dtype)
