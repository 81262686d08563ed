"""Stack Exchange dumps as sources: a Posts.xml in the published format, and files that only look like one."""

from __future__ import annotations

import html
import random
import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import reading, source_of

from codellama_train.console import UserError
from data_prep.sources import posts, stackexchange
from data_prep.sources.posts import text_of_html

CODE = "<p>Use <code>print</code>:</p>\n\n<pre><code>if a &lt; b:\n    print(1)\n</code></pre>\n"
HEADER = '\ufeff<?xml version="1.0" encoding="utf-8"?>\r\n<posts>\r\n'


def post(number: int, kind: int, score: int, body: str, **more: str) -> str:
    row = {
        "Id": str(number),
        "PostTypeId": str(kind),
        "CreationDate": "2010-07-19T19:12:12.510",
        "Score": str(score),
        "Body": body,
        "OwnerUserId": "8",
        "LastActivityDate": "2020-09-15T21:08:26.077",
        "ContentLicense": "CC BY-SA 2.5",
    } | more
    return (
        "  <row "
        + " ".join(f"{name}={quoteattr(value, {chr(10): '&#xA;'})}" for name, value in row.items())
        + " />\r\n"
    )


def dump(folder: Path, *rows: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Posts.xml").write_text(HEADER + "".join(rows) + "</posts>", "utf-8")
    return folder


def read(*paths: Path, **keys: Any):
    return reading(source_of(kind="stackexchange", paths=[str(path) for path in paths], **keys))


def question(number: int, title: str = "How?", **more: str) -> str:
    return post(number, 1, 3, f"<p>Question {number}</p>", Title=title, Tags="<python>", AnswerCount="2", **more)


def answer(number: int, parent: int, score: int, body: str = "", **more: str) -> str:
    return post(number, 2, score, body or f"<p>Answer {number}</p>", ParentId=str(parent), **more)


def test_answers_follow_their_question_from_the_best_score_down(tmp_path):
    site = dump(
        tmp_path / "python.stackexchange.com",
        answer(2, 1, -1),
        question(1, "How & why?", AcceptedAnswerId="2"),
        answer(3, 1, 10, CODE, ContentLicense="CC BY-SA 4.0", LastEditDate="2021-01-01T00:00:00.000"),
        answer(5, 1, 10),
        post(6, 5, 0, "a wiki page"),
    )
    document = read(site).only()
    assert document.text == (
        "Q: How & why?\n\nQuestion 1\n\nA: Use print:\n\nif a < b:\n    print(1)\n\nA: Answer 5\n\nA: Answer 2\n"
    )
    assert (document.repository, document.path) == ("python.stackexchange.com", "questions/1")
    assert document.license == "CC-BY-SA-2.5 AND CC-BY-SA-4.0"
    assert document.revision_time == 1_609_459_200
    assert document.language == "english"


def test_questions_alone_and_answers_alone_are_named(tmp_path):
    rows = (question(1), answer(9, 7, 1), post(3, 1, 0, ""), "<row/>", post(4, 2, 1, "x", ParentId="9" * 30))
    read_in = read(dump(tmp_path / "site", *rows))
    assert read_in.documents == []
    assert read_in.reasons == {"question_without_answers": 2, "answers_without_question": 1}


def test_the_join_is_that_of_plain_python_whatever_the_order_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(stackexchange, "CACHE_KILOBYTES", 64)  # so that most of it lies on the disk
    monkeypatch.setattr(posts, "CHUNK_BYTES", 1_000)
    generator = random.Random(1)
    numbers = list(range(3_000))
    generator.shuffle(numbers)
    questions, answers = numbers[:600], numbers[600:]
    parents = {number: generator.choice(questions) for number in answers}
    scores = {number: generator.randrange(-3, 4) for number in answers}
    rows = [question(n) for n in questions] + [answer(n, parents[n], scores[n]) for n in answers]
    generator.shuffle(rows)
    found = read(dump(tmp_path / "site", *rows))
    expected = {}
    for number in questions:
        own = sorted((n for n in answers if parents[n] == number), key=lambda n: (-scores[n], n))
        if own:
            parts = [f"Q: How?\n\nQuestion {number}", *(f"A: Answer {n}" for n in own)]
            expected[f"site:questions/{number}"] = "\n\n".join(parts) + "\n"
    assert found.texts == expected
    assert [int(d.path.partition("/")[2]) for d in found.documents] == sorted(
        int(k.rpartition("/")[2]) for k in expected
    )


def test_dumps_are_found_in_folders_and_zips_by_their_site(tmp_path):
    one = dump(tmp_path / "dumps/a.stackexchange.com", question(1), answer(2, 1, 0))
    (one / "Users.xml").write_text("<users/>")
    with zipfile.ZipFile(tmp_path / "dumps/b.stackexchange.com.zip", "w") as archive:
        archive.write(one / "Posts.xml", "Posts.xml")
    found = read(tmp_path / "dumps")
    assert {d.repository for d in found.documents} == {"a.stackexchange.com", "b.stackexchange.com"}
    assert found.reasons == {"other_kind_of_file": 1}
    assert len(read(one / "Posts.xml", role="language").documents) == 1
    with pytest.raises(UserError, match=r"two dumps of a\.stackexchange\.com"):
        read(tmp_path / "dumps", dump(tmp_path / "again/a.stackexchange.com", question(1)))
    with pytest.raises(UserError, match="unpack it first, for example with `7z x`"):
        read(tmp_path / "stackoverflow.com-Posts.7z")


def test_entity_bombs_are_refused_unexpanded(tmp_path):
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "' + "&a;" * 1_000 + '">]>'
    site = dump(tmp_path / "site")
    (site / "Posts.xml").write_text(f'{laughs}<posts><row Id="1" PostTypeId="1" Body="&b;"/></posts>')
    assert read(site).reasons == {"broken_xml": 1}
    (site / "Posts.xml").write_text('<!DOCTYPE x SYSTEM "file:///etc/passwd"><posts/>')
    assert read(site).reasons == {"broken_xml": 1}


def test_what_comes_before_damage_is_read(tmp_path):
    site = dump(tmp_path / "site", question(1), answer(2, 1, 0))
    whole = (site / "Posts.xml").read_bytes()
    for data in (whole.replace(b"</posts>", b"<row Id="), whole.replace(b"</posts>", b"\xff\xfe</posts>")):
        (site / "Posts.xml").write_bytes(data)
        found = read(site)
        assert (len(found.documents), found.reasons) == (1, {"broken_xml": 1})
    (site / "Posts.xml").write_text('<users><row Id="1" Reputation="5"/></users>')
    assert read(site).reasons == {"no_posts": 1}
    (site / "Posts.xml").write_bytes(bytes(1_000))
    assert read(site).reasons == {"broken_xml": 1}


def test_gigabyte_rows_end_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(posts, "LONGEST_ROW", 100_000)
    monkeypatch.setattr(posts, "CHUNK_BYTES", 10_000)
    site = dump(tmp_path / "site", question(1), answer(2, 1, 0), answer(3, 1, 0, "x" * 500_000))
    found = read(site)
    assert (len(found.documents), found.reasons) == (1, {"broken_xml": 1})


def test_long_posts_and_long_pages_are_named(tmp_path):
    long = answer(3, 1, 0, "y" * 5_000)
    found = read(dump(tmp_path / "site", question(1), answer(2, 1, 0), long), max_file_bytes=1_000)
    assert (len(found.documents), found.reasons) == (1, {"huge": 1})
    many = [answer(number, 1, 0, "y" * 400) for number in range(2, 6)]
    assert read(dump(tmp_path / "site", question(1), *many), max_file_bytes=1_000).reasons == {"huge": 1}


def test_a_cap_takes_the_first_questions_of_every_site(tmp_path):
    for site in ("a", "b"):
        rows = [row for n in range(0, 400, 2) for row in (question(n), answer(n + 1, n, 0, "word " * 2_000))]
        dump(tmp_path / site, *rows)
    found = read(tmp_path, max_megabytes=1)
    counts = {site: sum(d.repository == site for d in found.documents) for site in ("a", "b")}
    assert counts == {"a": 50, "b": 50}
    assert found.reasons == {"over_max_megabytes": 300}


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        (CODE, "Use print:\n\nif a < b:\n    print(1)"),
        ("<p>One\n two</p><p>Three<br>four</p>", "One two\n\nThree\nfour"),
        ("<ul><li>a</li>\n<li>b <b>c</b></li></ul>", "a\nb c"),
        ("<blockquote>\n<p>said</p>\n</blockquote>\n<p>so</p>", "said\n\nso"),
        ("<pre>\n  indented\n\n\nfar</pre>", "  indented\n\n\nfar"),
        ("a <a href='x'>link</a> &amp; <img src='y' alt='z'>more", "a link & more"),
        ("<script>evil()</script>ok<style>p {}</style>", "ok"),
        ("", ""),
    ],
)
def test_tags_are_removed(markup, text):
    assert text_of_html(markup) == text


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(
        st.sampled_from(
            ["<p>", "</p>", "<pre>", "</pre>", "<![", "<!--", "-->", "<!", "&lt;", "<", "&#x;", "w", " ", "\n"]
        )
    )
)
def test_any_markup_gives_text(pieces):
    text = text_of_html("".join(pieces))
    assert text == text.rstrip("\n")
    assert text.count("w") <= pieces.count("w")
    if not {"<![", "<!--", "<!", "<"} & set(pieces):  # what such pieces leave open is text, tags and all
        assert not any(tag in text for tag in ("<p>", "</p>", "<pre>", "</pre>"))


@settings(deadline=None)  # the machine may be busy
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_code_comes_back_to_the_letter(code):
    expected = code.strip("\n") if code.strip() else ""
    assert text_of_html(f"<p>a</p><pre><code>{html.escape(code)}</code></pre>") == f"a\n\n{expected}".rstrip("\n")
