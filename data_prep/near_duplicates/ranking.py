"""The order in which documents are kept: each has a rank, and of two copies the one of the smaller rank stays.

Most stars, then most forks, then newest, then longest, then by document id, as The Stack v2 keeps the file of the most
starred and forked, then newest repository. What is not known ranks behind what is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.documents import id_array

MEASURES = ("stars", "forks", "revision_time", "num_characters")  # more is better
RANK_COLUMNS = ("document_id", *MEASURES)
KEY_BYTES = 8 * len(MEASURES) + 16
RankKeys = npt.NDArray[np.bytes_]


def rank_keys(documents: pa.Table) -> RankKeys:
    """Give for each document the bytes that sort it among all others, the best first; no two are equal."""
    keys = np.zeros((len(documents), KEY_BYTES), dtype=np.uint8)
    for place, name in enumerate(MEASURES):
        values = pc.fill_null(documents[name].cast(pa.int64()), np.iinfo(np.int64).min).to_numpy()
        # Big-endian and without sign, numbers sort as bytes do; inverted, the largest comes first.
        flipped = ~(values.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63))
        keys[:, 8 * place : 8 * place + 8] = flipped.astype(">u8")[:, None].view(np.uint8)
    keys[:, 8 * len(MEASURES) :] = id_array(documents["document_id"]).view(np.uint8).reshape(-1, 16)
    return keys.view(f"S{KEY_BYTES}").ravel()


def ids_in(keys: RankKeys) -> npt.NDArray[np.bytes_]:
    """Give the document ids that keys end with."""
    return np.ascontiguousarray(keys).view(np.uint8).reshape(-1, KEY_BYTES)[:, -16:].copy().view("S16").ravel()
