"""E-mail and IP addresses in source code, with what only looks like one left alone."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from data_prep.tags.text_statistics import Bytes


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Read backwards from the '@': an address starts after anything that cannot be part of its first half.
LOCAL_PART_REVERSED = re.compile(r"[A-Za-z0-9_%+-](?:[A-Za-z0-9_%+.-]{0,62}[A-Za-z0-9_])?(?![A-Za-z0-9_%+.@/&-])")
DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}([A-Za-z]{2,18})(?![A-Za-z0-9@_-]|\()")
# RFC 2606 and 6761 keep these for examples; the others are endings of file names and attributes, not of domains.
NO_DOMAINS = frozenset(["example", "test", "invalid", "localhost", "local", "py", "js"])
RESERVED_DOMAINS = ("example.com", "example.org", "example.net")
# Endings of three letters and more that people's addresses have; of two letters all are countries'.
LONG_ENDINGS = _words(
    "com org net edu gov mil int info biz name pro aero coop museum mobi jobs travel asia cat tel post dev app "
    "cloud xyz online site tech store blog page email world life live today space website host zone systems "
    "solutions software company network digital agency studio design team group club work works science academy "
    "institute university computer engineering consulting services support foundation community social media news "
    "games london berlin tokyo google microsoft apple amazon intel arpa "
)
SERVICE_USERS = frozenset(["git", "hg", "svn"])  # git@github.com:owner/name is a place, not a person

NUMBER = "[0-9][0-9]{0,2}"  # written so that the expression is looked for at digits only
IPV4 = re.compile(rf"{NUMBER}(?:\.{NUMBER}){{3}}(?!\w|\.\w|-\w)", re.ASCII)
# Not after a word, a comparison (a pinned version) or a single slash (Firefox/1.5.0.12).
NOT_BEFORE_IPV4 = re.compile(r"(?:[\w.+-]|[=<>~!]=|(?<!/)/)\Z", re.ASCII)
IPV4_CUES = tuple(b"." + b"0" * first + b"." + b"0" * second + b"." for first in (1, 2, 3) for second in (1, 2, 3))
DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"000000000")
# How addresses of the Internet begin: RFC 4291, 2000::/3.
IPV6 = re.compile(r"[23][0-9a-fA-F]{3}:[0-9a-fA-F:]+")
# What has four parts too: a version after one of these words, and the decimals of a drawing (1.5-.75 3.51.98.32).
NO_ADDRESS_AFTER = re.compile(
    r"(?i)(?:version|release|revision|build|assembly|update|schema|since|ver|rev|[vr])[\w\s\"'=:,(\[#>~^-]{0,12}$"
    r"|(?:\.\d+[ ,-]\d*){2}$"
)
# Chapters of standards are the other false alarm, and their numbers are small: an address is taken for one if fewer
# than two of its parts reach this. BigCode leaves four single digits alone; this loses 0.7 % of random addresses.
SMALL_PART = 32
WINDOW = 40  # characters
# Name servers that everyone names (BigCode, pii_redaction).
PUBLIC_SERVERS = _words(
    "8.8.8.8 8.8.4.4 1.1.1.1 1.0.0.1 76.76.19.19 76.223.122.150 9.9.9.9 149.112.112.112 208.67.222.222 208.67.220.220 "
    "8.26.56.26 8.20.247.20 94.140.14.14 94.140.15.15 2001:4860:4860::8888 2001:4860:4860::8844"
)


def emails_in(text: str) -> Iterator[tuple[int, int]]:
    """Give start and end of each e-mail address."""
    position = text.find("@")
    while position >= 0:
        domain = DOMAIN.match(text, position + 1)
        if domain is not None and _is_public(domain[0].lower(), domain[1]):
            local = LOCAL_PART_REVERSED.match(text[max(position - 66, 0) : position][::-1])
            if local is not None and local[0][::-1].lower() not in SERVICE_USERS:
                yield position - len(local[0]), domain.end()
        position = text.find("@", position + 1)


def _is_public(domain: str, ending: str) -> bool:
    ending = ending.lower()
    known = len(ending) == 2 or ending in LONG_ENDINGS
    return known and ending not in NO_DOMAINS and not domain.endswith(RESERVED_DOMAINS)


def ip_addresses_in(text: str, data: Bytes) -> Iterator[tuple[int, int]]:
    """Give start and end of each IP address that routers of the Internet would forward to, versions left alone."""
    zeroed = data.tobytes().translate(DIGITS_AS_ZERO)
    if any(cue in zeroed for cue in IPV4_CUES):
        for match in IPV4.finditer(text):
            if _is_global(match[0]) and not _is_part_of_more(text, *match.span()):
                yield match.span()
    for match in IPV6.finditer(text):
        if _is_global(match[0]) and not _touches_word(text, *match.span()):
            yield match.span()


def _is_global(value: str) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    return address.is_global and not address.is_multicast and value not in PUBLIC_SERVERS


def _is_part_of_more(text: str, start: int, end: int) -> bool:
    """Tell a version, a chapter's number or the like from an address by its size and by what is before it."""
    large_parts = sum(int(part) >= SMALL_PART for part in text[start:end].split("."))
    before = text[max(start - WINDOW, 0) : start].rpartition("\n")[2]
    is_attached = NOT_BEFORE_IPV4.search(before[-2:]) is not None
    return is_attached or large_parts < 2 or NO_ADDRESS_AFTER.search(before) is not None


def _touches_word(text: str, start: int, end: int) -> bool:
    """Tell whether a match is part of something longer."""
    before, after = text[max(start - 1, 0) : start], text[end : end + 1]
    return before.isalnum() or before in ("_", ".", ":") or after.isalnum() or after in ("_", "%")
