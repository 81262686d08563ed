"""Megatron's indexed token files, `PREFIX.bin` and `PREFIX.idx`, which Megatron-LM, NeMo and GPT-NeoX read.

`.bin` holds the tokens of all sequences. `.idx`, little-endian: nine bytes of magic, the version (uint64), the code of
the token type (uint8), the numbers of sequences and of document bounds (uint64), then of every sequence its length
(int32) and where its bytes begin (int64), and the sequence at which each document begins (int64, one more than there
are documents). A document of ours is one sequence; one without tokens has none, as Megatron's own tool writes it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.tokens.shards import ShardSet
from codellama_train.tokens.tokenizer import IdArray

MAGIC, VERSION = b"MMIDIDX\x00\x00", 1
HEADER = struct.Struct("<9sQBQQ")
TOKEN_TYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}  # 6 and 7 are floats
NARROW, WIDE = 8, 4
NARROW_VOCABULARY = 65_500  # Megatron's DType.optimal_dtype: below it uint16, else int32
TOKENS_PER_BLOCK = 1 << 22


def index_path(prefix: Path) -> Path:
    """Name the index of a pair of files."""
    return prefix.with_name(prefix.name + ".idx")


def tokens_path(prefix: Path) -> Path:
    """Name the token file of a pair of files."""
    return prefix.with_name(prefix.name + ".bin")


@dataclass(frozen=True)
class IndexedTokens:
    """A pair of files, mapped: nothing is read before it is asked for."""

    tokens: npt.NDArray[Any]
    lengths: npt.NDArray[np.int32]
    pointers: npt.NDArray[np.int64]
    document_bounds: npt.NDArray[np.int64]

    @property
    def num_documents(self) -> int:
        """Count the documents."""
        return len(self.document_bounds) - 1

    def ids(self, document: int) -> IdArray:
        """Give the token ids of a document, all its sequences after each other."""
        first, stop = self.document_bounds[document : document + 2]
        starts = self.pointers[first:stop] // self.tokens.itemsize
        parts = [
            self.tokens[start : start + length] for start, length in zip(starts, self.lengths[first:stop], strict=True)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate([self.tokens[:0], *parts])


def open_indexed(prefix: Path) -> IndexedTokens:
    """Map a pair of files and check that the index is whole and speaks of this token file."""
    path = index_path(prefix)
    for needed in (path, tokens_path(prefix)):
        if not needed.is_file():
            raise UserError(f"{needed} does not exist; name the pair PREFIX.idx and PREFIX.bin by its PREFIX")
    with path.open("rb") as file:
        header = file.read(HEADER.size)
    if len(header) < HEADER.size or not header.startswith(MAGIC):
        raise UserError(f"{path} is no Megatron index: it does not begin with MMIDIDX and a whole header")
    _, version, code, num_sequences, num_bounds = HEADER.unpack(header)
    if version != VERSION or code not in TOKEN_TYPES:
        raise UserError(
            f"{path} has version {version} and token type {code}; read are version {VERSION} and the integer types "
            f"{', '.join(map(str, TOKEN_TYPES))}"
        )
    expected = HEADER.size + 12 * num_sequences + 8 * num_bounds
    if (size := path.stat().st_size) != expected:
        raise UserError(
            f"{path} has {size:,} bytes, but an index of {num_sequences:,} sequences and {num_bounds:,} document "
            f"bounds has {expected:,}: it is torn, or of a multimodal data set, which is not read"
        )
    bounds_at = HEADER.size + 12 * num_sequences
    indexed = IndexedTokens(
        _mapped(tokens_path(prefix), TOKEN_TYPES[code]),
        _mapped(path, "<i4", offset=HEADER.size, count=num_sequences),
        _mapped(path, "<i8", offset=HEADER.size + 4 * num_sequences, count=num_sequences),
        _mapped(path, "<i8", offset=bounds_at, count=num_bounds),
    )
    _require_agreement(prefix, indexed)
    return indexed


def _mapped(path: Path, dtype: str, *, offset: int = 0, count: int | None = None) -> npt.NDArray[Any]:
    """Map a file, or a part of it that need not be aligned; the array is no memmap, whose slices are slow."""
    kind = np.dtype(dtype)
    num_bytes = path.stat().st_size if count is None else count * kind.itemsize
    if num_bytes < kind.itemsize:
        return np.empty(0, kind)
    mapped = np.memmap(path, dtype=np.uint8, mode="r", offset=offset, shape=(num_bytes,))
    return np.frombuffer(mapped.data, dtype=kind, count=num_bytes // kind.itemsize)


def _require_agreement(prefix: Path, indexed: IndexedTokens) -> None:
    """Refuse an index whose sequences lie outside the token file or whose documents are out of order."""
    item, bounds = indexed.tokens.itemsize, indexed.document_bounds
    ends = indexed.pointers + indexed.lengths.astype(np.int64) * item
    outside = np.flatnonzero((indexed.lengths < 0) | (indexed.pointers < 0) | (ends > len(indexed.tokens) * item))
    if len(outside):
        raise UserError(
            f"{index_path(prefix)}: sequence {outside[0]:,} lies outside {tokens_path(prefix)}, which has "
            f"{len(indexed.tokens):,} tokens; the two are not of one data set, or one of them is torn"
        )
    if not len(bounds) or bounds[0] or bounds[-1] != len(indexed.lengths) or (np.diff(bounds) < 0).any():
        raise UserError(
            f"{index_path(prefix)}: its document bounds do not run from 0 to its {len(indexed.lengths):,} sequences; "
            "write it again with finalize()"
        )


def write_indexed(shards: ShardSet, prefix: Path, *, eos_id: int | None) -> None:
    """Write a shard set as a pair of files; `eos_id` ends every document that has tokens (`--append-eod`).

    Shards are read and written block by block. Both files are written under other names first; the index comes last.
    """
    if shards.kind == "dialogues":
        raise UserError(
            f"the shards at {shards.folder} are dialogues, which say of each token whether it is predicted; Megatron's "
            "format has no place for that, so they are not converted"
        )
    is_narrow = shards.manifest["vocabulary_size"] < NARROW_VOCABULARY
    code = NARROW if is_narrow else WIDE
    dtype = np.dtype(TOKEN_TYPES[code])
    prefix.parent.mkdir(parents=True, exist_ok=True)
    partial = {path: path.with_name(f".{path.name}.partial") for path in (tokens_path(prefix), index_path(prefix))}
    with partial[tokens_path(prefix)].open("wb") as file:
        for shard in range(len(shards.manifest["shards"])):
            for block in _blocks_of(shards, shard, eos_id):
                file.write(block.astype(dtype, copy=False).tobytes())
    with partial[index_path(prefix)].open("wb") as file:
        _write_index(file, shards, code, dtype.itemsize, num_added=int(eos_id is not None))
    for path, written in partial.items():
        artifacts.flush(written)
        written.replace(path)
    artifacts.flush(prefix.parent)


def _blocks_of(shards: ShardSet, shard: int, eos_id: int | None) -> Iterator[IdArray]:
    """Give a shard's tokens in blocks of whole documents, each with EOS after it where one is named."""
    ends = shards.stored(shard, "ends").astype(np.int64)
    path, item_type = shards.path_of(shard, "tokens"), np.dtype(shards.manifest["dtype"])
    first, start = 0, 0
    while first < len(ends):
        stop = max(int(np.searchsorted(ends, start + TOKENS_PER_BLOCK, side="right")), first + 1)
        count = int(ends[stop - 1]) - start
        # Read, not mapped: the readers' maps are advised against reading ahead, which is what a copy lives from.
        block = np.fromfile(path, item_type, count=count, offset=start * item_type.itemsize)
        assert len(block) == count, (path, len(block), count)
        if eos_id is not None:
            has_tokens = np.diff(ends[first:stop], prepend=start) > 0
            block = np.insert(block, (ends[first:stop] - start)[has_tokens], eos_id)
        yield block
        first, start = stop, int(ends[stop - 1])


def _write_index(file: BinaryIO, shards: ShardSet, code: int, item_bytes: int, *, num_added: int) -> None:
    """Write the index shard by shard, once for each of its three columns."""
    every = range(len(shards.manifest["shards"]))
    lengths = [_lengths_of(shards, shard, num_added) for shard in every]
    num_sequences = sum(len(column) - int((column == 0).sum()) for column in lengths)
    file.write(HEADER.pack(MAGIC, VERSION, code, num_sequences, shards.num_documents + 1))
    for column in lengths:
        file.write(column[column > 0].astype("<i4").tobytes())
    position = 0
    for column in lengths:
        stored = column[column > 0]
        ends = position + np.cumsum(stored) * item_bytes
        file.write((ends - stored * item_bytes).astype("<i8").tobytes())
        position = int(ends[-1]) if len(ends) else position
    file.write(struct.pack("<q", 0))
    sequence = 0
    for column in lengths:
        file.write((sequence + np.cumsum(column > 0)).astype("<i8").tobytes())
        sequence += int((column > 0).sum())
    file.flush()
    os.fsync(file.fileno())


def _lengths_of(shards: ShardSet, shard: int, num_added: int) -> npt.NDArray[np.int64]:
    """Give the tokens of each document of a shard as Megatron will have them."""
    lengths = np.diff(shards.stored(shard, "ends").astype(np.int64), prepend=0)
    if len(lengths) and lengths.max() + num_added > np.iinfo(np.int32).max:
        raise UserError(
            f"a document of {shards.folder} has {lengths.max():,} tokens; Megatron's index holds at most 2³¹"
        )
    return np.where(lengths > 0, lengths + num_added, 0)
