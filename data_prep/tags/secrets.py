"""Keys, tokens and passwords in source code: formats that services give their secrets, and assignments of random text.

The formats are those of detect-secrets 1.5.0 (Apache-2.0), BigCode's detector, and of services that came later. What
a format alone does not prove must look random (Shannon entropy), and examples and templates are left alone. Text that
is merely random, with nothing that says it is secret, stays: hashes are far more frequent in code than keys.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import string
from collections import Counter
from collections.abc import Iterator

import numpy as np

from data_prep.tags.text_statistics import Bytes, runs_of

# Every format has a run of at least this many of these characters, which is rare in code and quickly found.
IS_TOKEN = np.zeros(256, dtype=bool)
IS_TOKEN[[ord(character) for character in string.ascii_letters + string.digits + "_-"]] = True
RUN_MIN = 20
HAS_DIGIT_OR_MARK = re.compile(r"[0-9]|hf_")
BEFORE, AFTER = 90, 100  # how far a format reaches beyond its longest run

TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"(?P<aws>(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16})"
    r"|gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{60,255}"
    r"|gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas)-[A-Za-z0-9_-]{20,255}"
    r"|xox[abopsre]-(?:\d+-)+[A-Za-z0-9]{8,64}"
    r"|(?<=hooks\.slack\.com/services/)T[A-Za-z0-9_]{6,20}/B[A-Za-z0-9_]{6,20}/[A-Za-z0-9_]{16,40}"
    r"|AIza[0-9A-Za-z_-]{35}|ya29\.[0-9A-Za-z_-]{20,255}|GOCSPX-[0-9A-Za-z_-]{28}"
    r"|[rs]k_live_[0-9A-Za-z]{24,99}|sq0csp-[0-9A-Za-z_-]{43}|EAAA[0-9A-Za-z_-]{60}"
    r"|SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}|[0-9a-f]{32}-us[0-9]{1,2}|key-[0-9a-f]{32}"
    r"|npm_[A-Za-z0-9]{36}|pypi-Ag[A-Za-z0-9_-]{50,255}|hf_[A-Za-z]{34}|dckr_pat_[A-Za-z0-9_-]{27}"
    r"|sk-[A-Za-z0-9_-]{0,100}[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20,100}|sk-ant-[A-Za-z0-9_-]{80,120}"
    r"|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|dop_v1_[a-f0-9]{64}|AGE-SECRET-KEY-1[A-Z0-9]{58}"
    r"|(?:AC|SK)[a-f0-9]{32}|\d{8,10}:AA[0-9A-Za-z_-]{33}|[MNO][A-Za-z\d_-]{23,25}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{27}"
    r"|(?<=AccountKey=)[A-Za-z0-9+/]{86}=="
    r"|(?P<jwt>eyJ[A-Za-z0-9_-]{8,4096}\.eyJ[A-Za-z0-9_-]{8,4096}(?:\.[A-Za-z0-9_-]{0,1024})?)"
    r")(?![A-Za-z0-9_-])"
)
# A name that says its value is secret: a word that is enough, or what kind of key it is.
SECRET_WORDS = ("password", "passwd", "passphrase", "pwd", "secret", "token", "credential", "key")
KINDS_OF_KEY = ("api", "access", "auth", "private", "client", "account", "service", "encryption", "secret")
# What follows the word: the rest of the name, an assignment, and the value in quotes.
ASSIGNMENT = re.compile(
    r"""[\w-]{0,20}["'`]?\]?\s{0,4}(?::=|=>|[:=])\s{0,4}["'`](?P<value>[^\s"'`<>{}$%()\\]{8,200})["'`]"""
)
PASSWORD_IN_URL = re.compile(r"://[^\s:/@\"'<>{}$%]{1,64}:(?P<value>[^\s:/@\"'<>{}$%()*\[\]]{5,100})@[\w\[]")
PRIVATE_KEY_BEGINNING = re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----")
PRIVATE_KEY_END = "-----END "
SHORTEST_PRIVATE_KEY, LONGEST_PRIVATE_KEY = 40, 20_000  # characters between the two

LOWER_CASE = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

# detect-secrets' limit for hexadecimal text; random base64 of 20 characters has about 4 bits a character.
MIN_ENTROPY = 3.0
# Words of documentation and tests (detect-secrets' heuristics name the templates; AWS's documentation ends in EXAMPLE).
EXAMPLES = re.compile(
    r"(?i)example|sample|dummy|fake|changeme|change_me|placeholder|your[-_]|my[-_]|xxxx|\*\*\*\*|\.\.\.|1234567|abcdef|test"
    r"|password|secret|redacted"
)
SEQUENCES = (
    string.ascii_lowercase,
    string.digits + string.ascii_lowercase,
    string.ascii_lowercase + string.digits + "+/",
)
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
URL_PASSWORD_WORDS = re.compile(r"(?i)^(?:pass(?:word|wd)?|pwd|secret|token|port|x+|redacted|hidden|\d{1,5})$")


def keys_in(text: str, data: Bytes) -> Iterator[tuple[int, int]]:
    """Give start and end of each secret; `data` has a byte per character. They may overlap."""
    yield from _tokens(text, data)
    yield from _assigned(text)
    if "://" in text:
        matches = PASSWORD_IN_URL.finditer(text)
        yield from (m.span("value") for m in matches if not URL_PASSWORD_WORDS.match(m["value"]))
    if "PRIVATE KEY" in text:
        yield from _private_keys(text)


def _private_keys(text: str) -> Iterator[tuple[int, int]]:
    """Give what stands between the two lines of each private key."""
    for beginning in PRIVATE_KEY_BEGINNING.finditer(text):
        start = beginning.end()
        end = text.find(PRIVATE_KEY_END, start, start + LONGEST_PRIVATE_KEY)
        is_whole = end - start >= SHORTEST_PRIVATE_KEY and "-----BEGIN " not in text[start:end]
        if is_whole and "<KEY>" not in text[start:end]:
            yield start, end


def _assigned(text: str) -> Iterator[tuple[int, int]]:
    """Give the random values that are assigned to names which say they are secret."""
    lowered = text.lower()
    if len(lowered) != len(text):  # some capitals are two small letters, which would shift what follows
        lowered = text.translate(LOWER_CASE)
    for word in SECRET_WORDS:
        position = lowered.find(word)
        while position >= 0:
            end = position + len(word)
            if word != "key" or lowered[max(position - 12, 0) : position].rstrip("_-").endswith(KINDS_OF_KEY):
                match = ASSIGNMENT.match(text, end)
                if match is not None and _is_random(match["value"]):
                    yield match.span("value")
            position = lowered.find(word, end)


def _tokens(text: str, data: Bytes) -> Iterator[tuple[int, int]]:
    """Give the tokens of known formats: the expression runs only around long runs of token characters."""
    searched = 0
    for start, end in runs_of(IS_TOKEN[data], RUN_MIN).tolist():
        if end <= searched or not HAS_DIGIT_OR_MARK.search(text, start, end):
            continue
        for near in TOKEN.finditer(text, max(start - BEFORE, searched), end + AFTER):
            match = TOKEN.match(text, near.start())  # for the limit of the search may have cut it
            if match is not None and near.start() >= searched:
                searched = match.end()
                if _is_genuine(match):
                    yield match.span()


def _is_genuine(match: re.Match[str]) -> bool:
    value = match[0]
    if match["jwt"] is not None:
        return _is_json_web_token(value)
    return EXAMPLES.search(value) is None and entropy(value) >= MIN_ENTROPY


def _is_json_web_token(value: str) -> bool:
    """Tell whether the first two parts are JSON in base64, as detect-secrets asks."""
    for part in value.split(".")[:2]:
        try:
            json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        except (ValueError, binascii.Error, RecursionError):
            return False
    return True


def _is_random(value: str) -> bool:
    """Tell a secret from a name, a sentence, a path or an example: it mixes letters and digits without order."""
    if EXAMPLES.search(value) or UUID.fullmatch(value) or any(value.lower() in sequence for sequence in SEQUENCES):
        return False
    has_both = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    is_place = "://" in value or value.count("/") > 2 or value.count(".") > 2
    return has_both and not is_place and entropy(value) >= MIN_ENTROPY


def entropy(value: str) -> float:
    """Give Shannon's entropy of the text's characters, in bits a character."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)
