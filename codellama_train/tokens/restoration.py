"""The inverse of packing and infilling: documents' texts back from the sequences a model is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from codellama_train.tokens.infilling import InfillingMode
from codellama_train.tokens.rows import Form, Origin, Row
from codellama_train.tokens.tokenizer import Tokenizer


class RestoredDocument(NamedTuple):
    """A document as its training sequences hold it."""

    origin: Origin
    form: Form
    text: str


def restored_documents(tokenizer: Tokenizer, rows: Iterable[Row]) -> Iterator[RestoredDocument]:
    """Give back the documents of consecutive rows of a lane, in the order in which they end.

    Dialogues, and documents that began before the first row, are passed over. Of an *exact* document the text is the
    source's, code point for code point.
    """
    begun: dict[Origin, list[int]] = {}
    for row in rows:
        for segment in row.segments:
            if segment.form in ("dialogue", "padding") or (segment.offset and segment.origin not in begun):
                continue
            begun.setdefault(segment.origin, []).extend(row.input_ids[segment.start : segment.stop].tolist())
            if segment.ends_document:
                mode = segment.form if segment.form in ("psm", "spm") else None
                text = restore_document(tokenizer, begun.pop(segment.origin), mode)
                yield RestoredDocument(segment.origin, segment.form, text)


def restore_document(tokenizer: Tokenizer, ids: Sequence[int], mode: InfillingMode | None) -> str:
    """Give back the text of one document: plain (BOS … EOS, mode None) or infilled (BOS … EOT).

    The mode must be told, since PSM with an empty prefix has the layout of SPM.
    """
    sentinels = tokenizer.sentinels
    first, body, last = ids[0], list(ids[1:-1]), ids[-1]
    if first != tokenizer.bos_id or last != (tokenizer.eos_id if mode is None else sentinels.end):
        raise ValueError(f"a document runs from BOS to EOS or EOT, not from id {first} to id {last}")
    if mode is None:
        return tokenizer.decode(body)
    suffix_at, middle_at = body.index(sentinels.suffix), body.index(sentinels.middle)
    before, after, middle = body[1:suffix_at], body[suffix_at + 1 : middle_at], body[middle_at + 1 :]
    suffix = tokenizer.decode_infilling(after)
    if mode == "spm":
        return tokenizer.decode(middle) + suffix
    return tokenizer.decode(before) + tokenizer.decode_infilling(middle) + suffix
