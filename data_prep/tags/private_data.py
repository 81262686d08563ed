"""Private data in a text: where it stands, and the text with placeholders in its place.

Kinds and placeholders are those of BigCode's redaction (bigcode-dataset, pii/ner/pii_redaction): `<EMAIL>`, `<KEY>`,
and a private address in place of a public one. A placeholder is never found again: redacting twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, get_args

from codellama_train.recipe.data_rules import PrivateKind
from data_prep.tags.addresses import emails_in, ip_addresses_in
from data_prep.tags.secrets import keys_in
from data_prep.tags.text_statistics import Bytes, one_byte_per_character

KINDS: tuple[PrivateKind, ...] = get_args(PrivateKind)

EMAIL, KEY = "<EMAIL>", "<KEY>"
IPV4, IPV6 = "172.16.31.10", "fd00:c2b6:b24b:be67:2827:688d:e6a1:6a3b"  # the first of BigCode's replacements


# Placeholders uncover something once or twice; a text made to do it for ever is left at that.
MOST_PASSES = 6


class PrivateSpan(NamedTuple):
    """A stretch of characters that says something private."""

    start: int
    end: int
    kind: PrivateKind


def private_spans(text: str, data: Bytes | None = None) -> list[PrivateSpan]:
    """Find e-mail addresses, keys and public IP addresses: in order, none overlapping another.

    The redacted text holds none: what a placeholder uncovers beside it counts as private too. `data` is
    `one_byte_per_character(text)`, for callers that have it.
    """
    spans = _seen(text, one_byte_per_character(text) if data is None else data)
    uncovered = spans
    for _ in range(MOST_PASSES):
        if not uncovered:
            break
        clean = redacted(text, spans)
        uncovered = _seen(clean, one_byte_per_character(clean))
        spans = _disjoint([*spans, *_in_the_original(uncovered, spans, text)])
    return spans


def _seen(text: str, data: Bytes) -> list[PrivateSpan]:
    found = [PrivateSpan(start, end, "key") for start, end in keys_in(text, data)]
    found += [PrivateSpan(start, end, "email") for start, end in emails_in(text)]
    found += [PrivateSpan(start, end, "ip_address") for start, end in ip_addresses_in(text, data)]
    return _disjoint(found)


def _in_the_original(
    uncovered: Iterable[PrivateSpan], replaced: Sequence[PrivateSpan], text: str
) -> Iterator[PrivateSpan]:
    """Move spans of a redacted text to the original, around any placeholder that they touch."""
    for span in uncovered:
        start, end, kind = span
        shift = 0  # of the original to the redacted text, so far
        for original in replaced:
            length = len(_placeholder(text[original.start : original.end], original.kind))
            first, last = original.start + shift, original.start + shift + length
            if last <= span.start:
                start = span.start - last + original.end
            elif first < span.start:
                start = original.start
            if last <= span.end:
                end = span.end - last + original.end
            elif first < span.end:
                end = original.end
            shift += length - (original.end - original.start)
        yield PrivateSpan(start, end, kind)


def _disjoint(spans: Iterable[PrivateSpan]) -> list[PrivateSpan]:
    """Join spans that overlap, under the kind of the one that starts first, and of those the longest."""
    joined: list[PrivateSpan] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end, KINDS.index(span.kind))):
        if joined and span.start < joined[-1].end:
            joined[-1] = joined[-1]._replace(end=max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def redacted(text: str, spans: Sequence[PrivateSpan], kinds: Sequence[PrivateKind] = KINDS) -> str:
    """Give the text with a placeholder for each span of the wanted kinds; all other characters stay as they are."""
    pieces: list[str] = []
    end = 0
    for span in spans:
        if span.kind in kinds:
            pieces += [text[end : span.start], _placeholder(text[span.start : span.end], span.kind)]
            end = span.end
    return "".join([*pieces, text[end:]])


def _placeholder(value: str, kind: PrivateKind) -> str:
    if kind == "ip_address":
        return IPV6 if ":" in value else IPV4
    return EMAIL if kind == "email" else KEY
