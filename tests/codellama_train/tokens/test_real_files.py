"""Thousands of real files in many languages: each encoded, infilled at its own cuts, and rebuilt exactly."""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import pytest
import sentencepiece

from codellama_train.console import print_table
from codellama_train.tokens.exactness import cause_of_inexactness
from codellama_train.tokens.fast_encoder import with_fast_encoder
from codellama_train.tokens.infilling import InfillingMode, infilled_document, infilled_ids, uniform_cuts
from codellama_train.tokens.randomness import RandomKey
from codellama_train.tokens.restoration import restore_document
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import dtype_for

pytestmark = pytest.mark.slow

FILES_WANTED, LANGUAGES_WANTED = 5_000, 10
FILES_PER_LANGUAGE, FILES_THAT_MAKE_A_LANGUAGE = 400, 20
MOST_FILE_BYTES = 100_000
MODES: tuple[InfillingMode, ...] = get_args(InfillingMode)
ENDINGS = {
    "C": ".c .h",
    "C++": ".cc .cpp .cxx .hpp .hh .inl .tcc",
    "CMake": ".cmake",
    "CSS": ".css .scss",
    "CUDA": ".cu .cuh",
    "Cython": ".pyx .pxd .pxi",
    "Fortran": ".f .f90",
    "Go": ".go",
    "HTML": ".html .htm",
    "Java": ".java",
    "JavaScript": ".js .mjs .cjs",
    "JSON": ".json",
    "Lua": ".lua",
    "Markdown": ".md",
    "Perl": ".pl .pm .t",
    "PHP": ".php",
    "Protocol Buffers": ".proto",
    "Python": ".py .pyi",
    "reStructuredText": ".rst",
    "Ruby": ".rb",
    "Rust": ".rs",
    "Shell": ".sh .bash",
    "SQL": ".sql",
    "Tcl": ".tcl .msg",
    "TOML": ".toml",
    "TypeScript": ".ts .tsx",
    "Vim script": ".vim",
    "XML": ".xml .svg",
    "YAML": ".yaml .yml",
}
LANGUAGE_OF = {ending: language for language, endings in ENDINGS.items() for ending in endings.split()}


class RealFile(NamedTuple):
    """A file found on this machine."""

    path: Path
    language: str
    text: str


@pytest.fixture(scope="module")
def real_files() -> list[RealFile]:
    """Different files of at least ten languages, the same ones each time on the same machine."""
    waiting: dict[str, list[Path]] = defaultdict(list)
    for path in installed_files():
        if path.suffix.lower() in LANGUAGE_OF:
            waiting[LANGUAGE_OF[path.suffix.lower()]].append(path)
    files = []
    seen: set[bytes] = set()
    for language, paths in sorted(waiting.items()):
        found = different_files(sorted(paths, key=scattered), language, seen)
        if len(found) >= FILES_THAT_MAKE_A_LANGUAGE:
            files += found
    counts = Counter(file.language for file in files)
    if len(files) < FILES_WANTED or len(counts) < LANGUAGES_WANTED:
        pytest.skip(
            f"found {len(files):,} files of {dict(counts)}, not {FILES_WANTED:,} in {LANGUAGES_WANTED} languages"
        )
    return files


def installed_files() -> Iterator[Path]:
    """Give the files of this Python and of the system's packages, each once."""
    python = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sys.base_prefix]
    places = {Path(place).resolve() for place in (*python, "/usr/include", "/usr/lib", "/usr/local", "/usr/share")}
    for place in sorted(place for place in places if not places & {*place.parents}):
        for folder, _, names in os.walk(place):
            yield from (Path(folder) / name for name in names)


def scattered(path: Path) -> bytes:
    return hashlib.sha256(str(path).encode(errors="surrogateescape")).digest()


def different_files(paths: list[Path], language: str, seen: set[bytes]) -> list[RealFile]:
    """Read files, passing over what is large, not UTF-8, empty, or equal to one read before."""
    files: list[RealFile] = []
    for path in paths:
        if len(files) == FILES_PER_LANGUAGE:
            break
        if not path.is_file() or not 0 < path.stat().st_size <= MOST_FILE_BYTES:
            continue
        content = path.read_bytes()
        identity = hashlib.sha256(content).digest()
        try:
            text = content.decode()
        except UnicodeDecodeError:
            continue
        if identity not in seen:
            seen.add(identity)
            files.append(RealFile(path, language, text))
    return files


@pytest.fixture(scope="module", params=["llama2_tokenizer", "mistral_v1_tokenizer"])
def published(request: pytest.FixtureRequest, shared_data: Path) -> SentencePieceTokenizer:
    return SentencePieceTokenizer.from_folder(shared_data / request.param)


def test_every_real_file_is_rebuilt_from_its_sequences(
    published: SentencePieceTokenizer, real_files: list[RealFile], capsys: pytest.CaptureFixture[str]
):
    inexact: list[tuple[str, str, str]] = []
    library = sentencepiece.SentencePieceProcessor(model_proto=published.model_bytes)
    for file in real_files:
        ids = published.encode(file.text)
        assert ids == library.encode(file.text), file.path
        cause = cause_of_inexactness(published, file.text, ids)
        if cause is None:
            require_rebuilt(published, file, ids)
        else:
            inexact.append((file.language, file.path.name, cause))
        assert (cause == "holds_metaspace") == ("▁" in file.text), file.path
    with capsys.disabled():
        show(real_files, inexact)
    assert len(real_files) - len(inexact) >= FILES_WANTED


def show(files: list[RealFile], inexact: list[tuple[str, str, str]]) -> None:
    """Print what was rebuilt, and what could not be because it is not exact."""
    counts, rest = Counter(file.language for file in files), Counter(language for language, *_ in inexact)
    rows = [(language, count, count - rest[language]) for language, count in counts.items()]
    rows.append(("all", len(files), len(files) - len(inexact)))
    print_table("\nReal files", ("language", "files", "exact, all rebuilt"), rows)
    if inexact:
        print_table("Not exact, left in order", ("language", "file", "cause"), inexact)


def require_rebuilt(tokenizer: SentencePieceTokenizer, file: RealFile, ids: list[int]) -> None:
    """Infill an exact file at its own cuts in both modes, from its stored ids as training does, and undo it."""
    text, stored = file.text, np.array(ids, dtype=dtype_for(tokenizer.vocabulary_size))
    assert restore_document(tokenizer, [tokenizer.bos_id, *ids, tokenizer.eos_id], None) == text, file.path
    first, second = cuts_of(text)
    for mode in MODES:
        infilled = infilled_ids(tokenizer, tokenizer.document(stored), (first, second), mode).ids.tolist()
        parts = (text[:first], text[first:second], text[second:])
        assert infilled == infilled_document(tokenizer, *parts, mode), (file.path, mode, first, second)
        assert restore_document(tokenizer, infilled, mode) == text, (file.path, mode, first, second)


def cuts_of(text: str) -> tuple[int, int]:
    """Draw the cuts that a document of this text has in its first epoch."""
    return uniform_cuts(RandomKey(1, hashlib.sha256(text.encode()).digest()[:16], 0), len(text))


def test_the_fast_encoder_gives_the_same_ids_for_every_real_file(
    published: SentencePieceTokenizer, real_files: list[RealFile]
):
    pytest.importorskip("gigatoken", reason="needs the extra `fast`")
    fast = with_fast_encoder(published)
    assert fast is not published
    for file in real_files:
        first, second = cuts_of(file.text)
        ids = published.encode(file.text)
        assert fast.encode(file.text) == ids, file.path
        for part in (file.text[first:second], file.text[second:]):
            assert fast.encode_infilling(part) == published.encode_infilling(part), file.path
        if published.decode(ids) == file.text:
            stored = np.array(ids, dtype=dtype_for(published.vocabulary_size))
            for mode in MODES:
                ours, expected = (infilled_ids(t, t.document(stored), (first, second), mode) for t in (fast, published))
                assert np.array_equal(ours.ids, expected.ids), (file.path, mode)
