"""Private data: formats found and look-alikes left, redaction's laws, and detect-secrets as a peer where installed."""

from __future__ import annotations

import base64
import ipaddress
import json
import random
import string
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preparing import STDLIB

from data_prep.tags.private_data import KINDS, PrivateSpan, private_spans, redacted
from data_prep.tags.secrets import entropy

RANDOM = random.Random(5)


def letters(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """Give random text that looks like nothing."""
    return "".join(RANDOM.choice(alphabet) for _ in range(length))


def part_of_token(content: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


UPPER = string.ascii_uppercase + string.digits
TOKENS = {
    "aws": "AKIA" + letters(16, UPPER),
    "github": "ghp_" + letters(36),
    "github fine-grained": "github_pat_" + letters(82),
    "gitlab": "glpat-" + letters(20),
    "slack": f"xoxb-{letters(12, string.digits)}-{letters(12, string.digits)}-{letters(24)}",
    "google": "AIza" + letters(35),
    "stripe": "sk_" + "live_" + letters(24),
    "sendgrid": f"SG.{letters(22)}.{letters(43)}",
    "npm": "npm_" + letters(36),
    "pypi": "pypi-AgEIcHlwaS5vcmc" + letters(80),
    "hugging face": "hf_" + letters(34, string.ascii_letters),
    "openai": "sk-" + letters(20) + "T3BlbkFJ" + letters(20),
    "mailchimp": letters(32, "0123456789abcdef") + "-us12",
    "twilio": "SK" + letters(32, "0123456789abcdef"),
    "telegram": letters(9, "123456789") + ":AA" + letters(33),
    "json web token": f"{part_of_token({'alg': 'HS256'})}.{part_of_token({'sub': 'a person'})}.{letters(43)}",
}
KEY_LINES = "\nMIIEowIBAAKCAQEAx2s9Rk1vPz7y8Zr4hQ\n0123abcDEF==\n"
CONTEXTS = ['key = "{}"\n', "é // {} end\n", "export TOKEN={}\n", "https://x.org/?k={}&b=1\n", "{}"]


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("name", TOKENS)
def test_tokens_of_known_formats_are_found_exactly(name, context):
    text = context.format(TOKENS[name])
    (span,) = private_spans(text)
    assert (text[span.start : span.end], span.kind) == (TOKENS[name], "key")
    assert redacted(text, [span]) == context.format("<KEY>")


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("Signed-off-by: A Person <a.person@company.com>", ["a.person@company.com"]),
        ("mail=first+tag@sub.domain.co.uk;", ["first+tag@sub.domain.co.uk"]),
        ("mailto:x_y@dev.io.", ["x_y@dev.io"]),
        ('db = "postgres://admin:s3cr3tW0rd9@db.internal/x"', ["s3cr3tW0rd9"]),
        ('password = "q7#Lx92!mZp"', ["q7#Lx92!mZp"]),
        ("'api_key': 'a8f5f167f44f4964e6c998dee827110c'", ["a8f5f167f44f4964e6c998dee827110c"]),
        ("listen 93.184.216.34:80", ["93.184.216.34"]),
        ("http://93.184.216.34/x", ["93.184.216.34"]),
        ("ip=93.184.216.34", ["93.184.216.34"]),
        ("addr 2a03:2880:f12f:83:face:b00c::25de", ["2a03:2880:f12f:83:face:b00c::25de"]),
        (
            f"-----BEGIN RSA PRIVATE KEY-----{KEY_LINES}-----END RSA PRIVATE KEY-----",
            [KEY_LINES],
        ),
    ],
)
def test_private_data_is_found(text, private):
    assert [text[span.start : span.end] for span in private_spans(text)] == private


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:owner/name.git",
        "someone@example.com",
        "user@localhost",
        "@decorator.name",
        "image@2x.png",
        "package@1.2.3",
        "a @ b.T",
        "127.0.0.1 10.1.2.3 192.168.127.12 172.16.31.10 169.254.1.1 224.0.0.1 255.255.255.0 0.0.0.0",
        "8.8.8.8 1.1.1.1",
        "version 93.184.216.34",
        "package==93.184.216.34",
        "Browser/93.184.216.34",
        "see 27.6.1.3 and [9.4.2.22]",
        "1.3.6.1.4.1.311",
        "300.184.216.34",
        "std::face::dead::beef",
        "fd00:c2b6:b24b:be67:2827:688d:e6a1:6a3b ::1 fe80::1 2001:db8::1",
        "12:34:56:78",
        'password = "password"',
        'password = os.environ["PASSWORD_OF_THE_DATABASE"]',
        'token = "${TOKEN_2_FROM_ENV}"',
        'secret_key = "your-secret-key-123"',
        'key = "abcdefghijklmnopqrstuvwxyz0123456789"',
        'keyboard = "q7Lx92mZpA1"',
        "AKIAIOSFODNN7EXAMPLE",
        "sha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "eyJub3QiOiJhIHRva2Vu.eyJub3QiOiJhIHRva2Vu.x",
    ],
)
def test_what_only_looks_private_stays(text):
    assert private_spans(text) == []


@given(st.ip_addresses(v=4), st.sampled_from(["{}", "host {};", "http://{}:80/", '"{}"']))
def test_ip_addresses_are_judged_as_the_standard_library_does(address, context):
    text = context.format(address)
    found = [text[span.start : span.end] for span in private_spans(text)]
    is_public = address.is_global and not address.is_multicast
    is_chapter = sum(int(part) >= 32 for part in str(address).split(".")) < 2
    assert found in ([], [str(address)])
    assert bool(found) == (is_public and not is_chapter and str(address) not in ("8.8.8.8", "1.1.1.1"))


PIECES = [*TOKENS.values(), "a.person@company.com", "b@c.de", "93.184.216.34", "1.1.1.1", "2a03:2880:f12f:83::25de"]
PIECES += ["@", "10.", "7", ".", ":", "::", "/", "=", "-", "_", " ", "\n", '"', "é", "漢", "İ", "x", "A1b2", "version "]
PIECES += ["<KEY>", "<EMAIL>", 'password = "', "q7#Lx92!mZp", "://u:", "s3cr3tW0rd9", KEY_LINES]
PIECES += ["-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"]
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=25).map("".join)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_spans_are_in_order_and_disjoint_and_redaction_changes_nothing_else(text):
    spans = private_spans(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(before.end <= after.start for before, after in pairwise(spans))
    clean = redacted(text, spans)
    # What stands between the spans stands in the redacted text, in order.
    position, edges = 0, [0, *(edge for span in spans for edge in span[:2]), len(text)]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        position = clean.index(text[start:end], position) + end - start
    assert redacted(text, []) == text


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_redacting_twice_is_redacting_once(text):
    once = redacted(text, private_spans(text))
    assert redacted(once, private_spans(once)) == once


@given(st.lists(st.sampled_from(KINDS), min_size=1))
def test_only_the_wanted_kinds_are_replaced(kinds):
    text = f"{TOKENS['github']} a.person@company.com 93.184.216.34"
    clean = redacted(text, private_spans(text), kinds)
    assert ("<KEY>" in clean, "<EMAIL>" in clean, "172.16.31.10" in clean) == (
        "key" in kinds,
        "email" in kinds,
        "ip_address" in kinds,
    )


def test_replacements_are_not_public_and_not_control_tokens():
    for value in ("93.184.216.34", "2a03:2880:f12f:83::25de"):
        assert not ipaddress.ip_address(redacted(value, [PrivateSpan(0, len(value), "ip_address")])).is_global
    assert not {"<s>", "</s>", "<unk>"} & {"<EMAIL>", "<KEY>"}


def test_the_standard_library_holds_people_and_no_keys():
    found = [
        (path.name, span.kind, text[span.start : span.end])
        for path in sorted(STDLIB.glob("*.py"))
        for text in [path.read_text("utf-8")]
        for span in private_spans(text)
    ]
    assert 40 < len(found) < 120
    assert all("@" in value for _, kind, value in found if kind == "email")
    assert {kind for _, kind, _ in found} == {"email"}, [each for each in found if each[1] != "email"]


@given(st.text(min_size=1))
def test_entropy_is_bounded_by_the_alphabet(text):
    assert -1e-9 <= entropy(text) <= len(set(text)).bit_length()
    assert entropy("ab" * 8) == pytest.approx(1)


@pytest.mark.parametrize("name", sorted(set(TOKENS) - {"github fine-grained", "hugging face"}))
def test_what_we_call_a_token_detect_secrets_does_too(name, tmp_path):
    secrets_package = pytest.importorskip("detect_secrets")
    settings_package = pytest.importorskip("detect_secrets.settings")
    path = tmp_path / "a.py"
    path.write_text(f'x = "{TOKENS[name]}"\n')
    collection = secrets_package.SecretsCollection()
    with settings_package.default_settings():
        collection.scan_file(str(path))
    values = {secret.secret_value for secret in collection[str(path)]}
    assert any(TOKENS[name].startswith(value) or value in TOKENS[name] for value in values)
