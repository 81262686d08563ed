"""Sources of kind `stackexchange`: each question with its answers, best first and without HTML, as LLaMA 1 has them.

Answers may stand anywhere after their question, so a file's posts first go, already as plain text, into a SQLite file
in the folder for temporary files (TMPDIR). It sorts them on disk within a bounded cache, whatever the dump's size.
"""

from __future__ import annotations

import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from codellama_train.console import UserError
from codellama_train.recipe.data_sources import StackexchangeSource
from data_prep.documents import Document, document_id
from data_prep.removals import Removals
from data_prep.sources.archive_streams import is_bomb
from data_prep.sources.files import in_bytes
from data_prep.sources.input_files import InputFile, input_files, shares
from data_prep.sources.plans import Plan
from data_prep.sources.posts import BrokenPosts, rows_of, text_of_html
from data_prep.sources.untrusted_files import LeftOut, Refused, decode
from data_prep.sources.values import as_time
from data_prep.tags.languages import ENGLISH

POSTS = "Posts.xml"
QUESTION, ANSWER = "1", "2"  # PostTypeId; the others are wiki pages and notices
CACHE_KILOBYTES = 64_000
MOST_HTML = 4  # times as long as its text may be
MOST_DIGITS = 18  # of a number that SQLite can hold
COLUMNS = "question, kind, score, post, title, body, license, time"


class Post(NamedTuple):
    """A question or an answer; `question` is the id of the question it belongs to."""

    question: int
    kind: str
    score: int
    post: int
    title: str
    body: str
    license: str
    time: int | None


def identity(name: str, source: StackexchangeSource) -> list[str]:
    """Give the dumps that the source's paths mean on this machine; what is in them is not watched."""
    return [file.path for file in _dumps(name, source, Removals())]


def plan(name: str, source: StackexchangeSource, removals: Removals, _: Path) -> Plan:
    """Give one task for each site's dump."""
    files = _dumps(name, source, removals)
    sites: dict[str, InputFile] = {}
    for file in files:
        if (other := sites.setdefault(_site(file), file)) is not file:
            raise UserError(f"sources.{name} has two dumps of {_site(file)}, {other.path} and {file.path}; name one")
    caps = shares(files, in_bytes(source.max_megabytes))
    pairs = zip(sites.items(), caps, strict=True)
    return Plan([{"path": file.path, "site": site, "max_bytes": cap} for (site, file), cap in pairs])


def _dumps(name: str, source: StackexchangeSource, removals: Removals) -> list[InputFile]:
    key = f"sources.{name}"
    for path in source.paths:
        if path.lower().endswith(".7z"):
            raise UserError(
                f"{key}.paths names {path!r}; unpack it first, for example with `7z x`, and name the folder"
            )
    return input_files(key, source.paths, lambda file: file == POSTS or file.lower().endswith(".zip"), POSTS, removals)


def _site(file: InputFile) -> str:
    """Name the site that a dump is of: its folder's name, or its archive's."""
    path = Path(file.path)
    return path.parent.name if path.name == POSTS else path.stem


def read(name: str, source: StackexchangeSource, task: dict[str, Any]) -> Iterator[Document | LeftOut]:
    """Read one dump; runs in a worker."""
    damage: list[LeftOut] = []
    question, taken = None, 0
    with tempfile.TemporaryDirectory() as scratch, closing(sqlite3.connect(Path(scratch) / "posts")) as store:
        _fill(store, _posts_of(Path(task["path"]), source.max_file_bytes, damage))
        rows = store.execute(f"SELECT {COLUMNS} FROM posts ORDER BY question, kind, score DESC, post")  # noqa: S608
        for question, group in groupby(map(Post._make, rows), key=lambda post: post.question):
            if task["max_bytes"] is not None and taken >= task["max_bytes"]:
                yield LeftOut(Path(task["site"]) / "questions" / str(question), "over_max_megabytes")
                continue
            entry = _document(name, source, task["site"], list(group))
            taken += len(entry.text.encode()) if isinstance(entry, Document) else 0
            yield entry
    if question is None and not damage:
        yield LeftOut(Path(task["path"]), "no_posts")
    yield from damage


def _fill(store: sqlite3.Connection, posts: Iterable[Post]) -> None:
    for setting in (f"cache_size = -{CACHE_KILOBYTES}", "journal_mode = OFF", "synchronous = OFF"):
        store.execute(f"PRAGMA {setting}")
    store.execute(f"CREATE TABLE posts ({COLUMNS})")
    marks = ", ".join("?" * len(Post._fields))
    store.executemany(f"INSERT INTO posts ({COLUMNS}) VALUES ({marks})", posts)  # noqa: S608
    store.commit()


def _posts_of(path: Path, max_file_bytes: int, damage: list[LeftOut]) -> Iterator[Post]:
    """Give the questions and answers of a dump; where it breaks off, what came before stays."""
    try:
        with _opened(path) as file:
            for row in rows_of(file):
                if len(row.get("Body", "")) > MOST_HTML * max_file_bytes:
                    damage.append(LeftOut(Path(f"{path}: post {row.get('Id')}"), "huge", len(row["Body"])))
                elif (post := _post(row)) is not None:
                    yield post
    except BrokenPosts as error:
        damage.append(LeftOut(path, "broken_xml", detail=str(error)))
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        damage.append(LeftOut(path, "unreadable", detail=str(error)))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open Posts.xml itself, or the one inside a zip archive."""
    if path.suffix.lower() != ".zip":
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        entry = next((entry for entry in archive.infolist() if Path(entry.filename).name == POSTS), None)
        if entry is None or is_bomb(entry.file_size, entry.compress_size):
            raise BrokenPosts(f"it holds no {POSTS}" if entry is None else f"its {POSTS} unpacks to far too much")
        with archive.open(entry) as member:
            yield cast(BinaryIO, member)


def _post(row: dict[str, str]) -> Post | None:
    """Give a question or an answer; None for other kinds of post and rows that lack their numbers."""
    kind = row.get("PostTypeId", "")
    post = _number(row.get("Id"))
    question = post if kind == QUESTION else _number(row.get("ParentId"))
    if kind not in (QUESTION, ANSWER) or post is None or question is None:
        return None
    return Post(
        question=question,
        kind=kind,
        score=_number(row.get("Score")) or 0,
        post=post,
        title=row.get("Title", ""),
        body=text_of_html(row.get("Body", "")),
        license=row.get("ContentLicense", "").replace(" ", "-"),  # CC BY-SA 4.0 as SPDX writes it
        time=as_time(row.get("LastEditDate") or row.get("CreationDate")),
    )


def _number(text: str | None) -> int | None:
    digits = (text or "").removeprefix("-")
    return int(text or "") if digits.isdecimal() and len(digits) <= MOST_DIGITS else None


def _document(name: str, source: StackexchangeSource, site: str, posts: list[Post]) -> Document | LeftOut:
    """Write a question and its answers in the order of their scores; the one accepted has no place of its own."""
    first = posts[0]
    answers = [post for post in posts if post.kind == ANSWER]
    path = f"questions/{first.question}"
    if first.kind != QUESTION:
        return LeftOut(Path(site) / path, "answers_without_question")
    if not answers:
        return LeftOut(Path(site) / path, "question_without_answers", len(first.body.encode()))
    parts = [f"Q: {first.title}\n\n{first.body}", *(f"A: {answer.body}" for answer in answers)]
    data = ("\n\n".join(parts) + "\n").encode("utf-8", errors="replace")
    licenses = sorted({post.license for post in posts} - {""})
    try:
        if len(data) > source.max_file_bytes:
            raise Refused("huge")
        text = decode(data)
    except Refused as refusal:
        return LeftOut(Path(site) / path, refusal.reason, len(data), refusal.detail)
    return Document(
        document_id=document_id(name, site, path.encode()),
        text=text,
        source=name,
        language=ENGLISH,
        repository=site,
        path=path,
        license=" AND ".join(licenses) or source.license,
        revision_time=max((post.time for post in posts if post.time is not None), default=None),
    )
