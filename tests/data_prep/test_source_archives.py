"""Archives as sources: every packing, real bombs, and members that lie about themselves."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from reading import Reading, reading, source_of

from codellama_train.console import UserError
from data_prep.sources.archive_streams import FREE_BYTES, MAX_RATIO, BrokenArchive, is_bomb, members_of

MIT = b"Permission is hereby granted, free of charge, to any person obtaining a copy of this software\n"
FILES = {"lib/a.py": b"a = 1\n", "lib/b.go": b"package b\n", "LICENSE": MIT, "notes.ipynb": b"{}"}
TIME = 1_600_000_000


def tar_bytes(files: dict[str, bytes], top: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(top + name)
            entry.size, entry.mtime = len(data), TIME
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def zip_bytes(files: dict[str, bytes], top: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(top + name, (2020, 9, 13, 12, 26, 40)), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def zstd(data: bytes) -> bytes:
    buffer = pa.BufferOutputStream()
    with pa.CompressedOutputStream(buffer, "zstd") as stream:
        stream.write(data)
    return buffer.getvalue().to_pybytes()


def read(path: Path, data: bytes, **keys: object) -> Reading:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return reading(source_of(kind="archives", paths=[str(path)], **keys))


@pytest.mark.parametrize(
    ("ending", "pack"),
    [
        ("tar", bytes),
        ("tar.gz", gzip.compress),
        ("tgz", gzip.compress),
        ("tar.bz2", bz2.compress),
        ("tar.xz", lzma.compress),
        ("tar.zst", zstd),
    ],
)
def test_every_packing_of_tar_gives_the_same(tmp_path, ending: str, pack: Callable[[bytes], bytes]):
    found = read(tmp_path / f"thing-1.0.{ending}", pack(tar_bytes(FILES, "thing-1.0/")))
    assert found.texts == {"thing-1.0:lib/a.py": "a = 1\n", "thing-1.0:lib/b.go": "package b\n"}
    assert {(d.language, d.license, d.revision_time) for d in found.documents} == {
        ("python", "MIT", TIME),
        ("go", "MIT", TIME),
    }
    assert found.reasons == {"notebook": 1, "other_kind_of_file": 1}


def test_a_zip_without_a_top_folder_is_named_after_itself(tmp_path):
    found = read(tmp_path / "thing.zip", zip_bytes(FILES))
    assert set(found.texts) == {"thing:lib/a.py", "thing:lib/b.go"}
    assert {(d.license, d.revision_time) for d in found.documents} == {("MIT", TIME)}


def test_what_an_archive_is_its_bytes_say_and_not_its_name(tmp_path):
    inner = zip_bytes(FILES)
    tar = tar_bytes({"a.py": b"a = 1\n", "z.zip": inner}, "top/")
    assert zipfile.is_zipfile(io.BytesIO(tar)), "a zip near the end of a tar misleads who looks there"
    found = read(tmp_path / "confusing.zip", tar)
    assert set(found.texts) == {"top:a.py"}
    assert found.reasons == {"nested_archive": 1}


def test_paths_and_links_that_lead_out_are_named(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("../up.py", "/etc/abs.py", "a/../../x.py", "C:\\win.py", "good/./a.py", "good/a.py"):
            entry = tarfile.TarInfo(name)
            entry.size = 6
            tar.addfile(entry, io.BytesIO(b"x = 1\n"))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            entry = tarfile.TarInfo(f"good/{kind!r}.py")
            entry.type, entry.linkname = kind, "/etc/passwd"
            tar.addfile(entry)
    found = read(tmp_path / "t.tar", buffer.getvalue())
    assert list(found.texts.values()) == ["x = 1\n"]
    assert found.reasons == {
        "path_out_of_archive": 4,
        "link_in_archive": 2,
        "special_file": 2,
        "second_of_its_name": 1,
    }


def test_links_and_encrypted_members_of_a_zip_are_named(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link.py")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("..\\up.py", "x = 1\n")
        archive.writestr("good.py", "x = 1\n")
        archive.writestr("secret.py", "x = 1\n")
    data = bytearray(buffer.getvalue())
    entry = data.rindex(b"secret.py") - 46  # its entry in the central directory
    struct.pack_into("<H", data, entry + 8, 1)  # the flag of encryption
    found = read(tmp_path / "z.zip", bytes(data))
    assert set(found.texts) == {"z:good.py"}
    assert found.reasons == {"link_in_archive": 1, "path_out_of_archive": 1, "encrypted": 1}


def test_a_zip_bomb_is_found_by_its_directory_and_the_rest_is_read(tmp_path):
    bomb = b"x = 1\n" * (FREE_BYTES // 2)
    assert len(bomb) > FREE_BYTES + MAX_RATIO * len(gzip.compress(bomb))
    found = read(tmp_path / "z.zip", zip_bytes({"a.py": b"a = 1\n", "bomb.py": bomb}), max_file_bytes=1 << 30)
    assert set(found.texts) == {"z:a.py"}
    assert found.reasons == {"zip_bomb": 1}


def test_overlapping_members_cannot_make_a_bomb(tmp_path):
    """Many entries of the directory that share one packed content, as in David Fifield's bombs."""
    kernel = zip_bytes({"k.py": random.Random(1).randbytes(30_000).hex().encode()})
    start = kernel.index(b"PK\1\2")
    end = kernel.index(b"PK\5\6")
    entries = [kernel[start:end].replace(b"k.py", b"%04d" % number) for number in range(5_000)]
    directory = b"".join(entries)
    tail = bytearray(kernel[end:])
    struct.pack_into("<HHII", tail, 8, len(entries), len(entries), len(directory), start)
    path = tmp_path / "z.zip"
    path.write_bytes(kernel[:start] + directory + tail)
    members = list(members_of(path, longest_read=1 << 20))
    allowed = FREE_BYTES + MAX_RATIO * path.stat().st_size
    assert len(members) == 5_000
    assert sum(member.num_bytes for member in members if member.refusal is None) <= allowed
    assert members[-1].refusal == "zip_bomb"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_a_packed_tar_bomb_ends_where_it_shows(tmp_path, pack: Callable[[bytes], bytes]):
    files = {"a.py": b"a = 1\n", "zeros.bin": bytes(40 * FREE_BYTES), "z.py": b"z = 1\n"}
    found = read(tmp_path / "t.tar.gz", pack(tar_bytes(files)))
    assert set(found.texts) == {"t:a.py"}
    assert found.reasons["zip_bomb"] == 1


def test_a_tar_header_of_gigabytes_is_not_read(tmp_path):
    entry = tarfile.TarInfo("long")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    found = read(tmp_path / "t.tar", tar_bytes({"a.py": b"a = 1\n"})[:1024] + entry.tobuf() + bytes(10_240))
    assert set(found.texts) == {"t:a.py"}
    assert found.reasons == {"broken_archive": 1}


def test_damage_is_named_and_what_comes_before_it_is_read(tmp_path):
    noise = random.Random(1).randbytes(200_000).hex().encode()
    packed = gzip.compress(tar_bytes({"a.py": b"a = 1\n", "noise.txt": noise, "z.py": b"z = 1\n"}))
    for name, data in (("cut", packed[: len(packed) // 2]), ("bent", packed[:20_000] + b"\0" * 100 + packed[20_100:])):
        found = read(tmp_path / f"{name}.tar.gz", data)
        assert set(found.texts) == {f"{name}:a.py"}
        assert found.reasons["broken_archive"] + found.reasons.get("unreadable", 0) == 1
    plain = tar_bytes({"a.py": b"a = 1\n", "z.py": b"z = 1\n"})
    found = read(tmp_path / "header.tar", plain[:1024] + b"?" * 512 + plain[1536:])
    assert (set(found.texts), found.reasons) == ({"header:a.py"}, {"broken_archive": 1})
    found = read(tmp_path / "text.zip", b"no archive at all\n" * 100)
    assert (found.texts, found.reasons) == ({}, {"broken_archive": 1})


def test_a_damaged_member_of_a_zip_is_left_out_alone(tmp_path):
    data = bytearray(zip_bytes({"a.py": b"a = 1\n" * 30, "b.py": b"b = 1\n"}))
    data[data.index(b"a.py") + 6] ^= 0xFF
    found = read(tmp_path / "z.zip", bytes(data))
    assert (set(found.texts), found.reasons) == ({"z:b.py"}, {"broken_archive": 1})


def test_texts_that_are_none_are_named_as_in_folders(tmp_path):
    files = {
        "latin.py": "caf\xe9 = 1\n".encode("latin-1"),
        "binary.py": b"\x7fELF\0",
        "line.py": b"x" * 200_000,
        "tests/t.py": b"t = 1\n",
        "ok.py": b"\xef\xbb\xbfx = 1\n",
    }
    found = read(tmp_path / "z.zip", zip_bytes(files), exclude_folders=["tests"])
    assert found.texts == {"z:ok.py": "x = 1\n"}
    assert found.reasons == {"not_utf8": 1, "binary": 1, "huge": 1, "excluded_folder": 1}


def test_archives_of_a_folder_are_found_and_told_apart(tmp_path):
    for name in ("one/main.zip", "two/main.zip"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(zip_bytes(FILES, "main/"))
    (tmp_path / "readme.txt").write_text("not an archive\n")
    found = reading(source_of(kind="archives", paths=[str(tmp_path)]))
    assert len(found.documents) == 4
    globbed = reading(source_of(kind="archives", paths=[str(tmp_path / "*/main.zip")]))
    assert globbed.documents == found.documents


def test_caps_are_shared_by_size_and_chosen_by_name(tmp_path):
    files = {f"f{number}.py": f"x = {number}\n".encode() * 20_000 for number in range(30)}
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).write_bytes(tar_bytes(files))
    found = reading(source_of(kind="archives", paths=[str(tmp_path)], max_megabytes=2, max_file_bytes=1 << 20))
    sizes = {name: sum(len(d.text) for d in found.documents if d.repository == name) for name in ("a", "b")}
    assert all(900_000 < size < 1_200_000 for size in sizes.values())
    assert found.reasons["over_max_megabytes"] == 60 - len(found.documents)
    assert {d.path for d in found.documents} != {f"f{number}.py" for number in range(len(found.documents))}


def test_documentation_and_prose_are_read_from_archives_too(tmp_path):
    files = {"README.md": b"# Title\n\nWords.\n", "a.py": b'"""A docstring that is long enough to count here."""\n'}
    keys = {"role": "code_language", "min_docstring_characters": 20}
    assert set(read(tmp_path / "z.zip", zip_bytes(files), **keys).texts) == {"z:README.md", "z:a.py"}
    text = b"First words.\n\nMore words.\n\nLast words.\n"
    keys = {"role": "language", "files": ["*.txt"], "document_characters": 30, "license": "CC0-1.0"}
    found = read(tmp_path / "p.zip", zip_bytes({"book.txt": text, "a.py": b"a\n"}), **keys)
    assert [(d.text, d.license) for d in found.documents] == [
        ("First words.\n\nMore words.\n", "CC0-1.0"),
        ("Last words.\n", "CC0-1.0"),
    ]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"role": "instruction"}, "has rows, not files"),
        ({"role": "language"}, "needs files"),
        ({"role": "code_language"}, "min_docstring_characters goes with"),
        ({"document_characters": 9}, "document_characters goes with role='language'"),
        ({"role": "prose"}, "'code', 'code_language', 'language' or 'instruction'"),
    ],
)
def test_keys_that_do_not_fit_the_role_are_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        source_of(kind="archives", paths=["x.zip"], **keys)


def test_a_path_that_names_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"sources.some.paths names '.*nope\*.zip', where there is no archive"):
        reading(source_of(kind="archives", paths=[str(tmp_path / "nope*.zip")]))


@settings(deadline=None)  # the machine may be busy
@given(
    st.binary(max_size=2_000),
    st.sampled_from([b"", b"PK\3\4", b"PK\5\6", b"\x1f\x8b\x08", b"BZh9", b"\x28\xb5\x2f\xfd"]),
)
def test_any_bytes_give_members_or_a_named_reason(data, beginning):
    with tempfile.NamedTemporaryFile() as file:
        file.write(beginning + data)
        file.flush()
        with suppress(BrokenArchive):
            for member in members_of(Path(file.name), longest_read=1_000):
                assert len(member.read(1_000)) <= 1_000


def test_the_bound_is_the_closed_formula():
    assert not is_bomb(FREE_BYTES + 100 * 7, 7)
    assert is_bomb(FREE_BYTES + 100 * 7 + 1, 7)
