"""A pinned package as a source: fetched by pip from a local index, read as an archive, refused when it is another."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from preparing import mini_recipe
from reading import reading, source_of

from codellama_train.console import UserError
from codellama_train.recipe.data_sources import PypiSource
from data_prep import ingest
from data_prep.sources.packages import fetch
from data_prep.work import Work

METADATA = "Metadata-Version: 2.1\nName: prose-sample\nVersion: 1.0\n"
FILES = {
    "texts/play.txt": "ACT I.\n\nFirst words.\n\n\n\n\nACT II.\n\nLast words.\n",
    "texts/other.txt": "Something else.\n",
    "texts/binary.txt": "\0\1",
    "code.py": "x = 1\n",
    "prose_sample-1.0.dist-info/METADATA": METADATA,
    "prose_sample-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "prose_sample-1.0.dist-info/RECORD": "",
}


def write_wheel(folder: Path) -> Path:
    path = folder / "prose_sample-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in FILES.items():
            wheel.writestr(name, text)
    return path


def source(sha256: str) -> PypiSource:
    return PypiSource(
        kind="pypi",
        package="prose-sample",
        version="1.0",
        sha256=sha256,
        files=["texts/*.txt"],
        license="public domain",
        document_characters=30,
    )


@pytest.fixture
def local_index(tmp_path, monkeypatch) -> Path:
    """The only place that pip may look."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_package_is_fetched_once_and_read(local_index, tmp_path):
    wheel = write_wheel(local_index)
    pinned = source(hashlib.sha256(wheel.read_bytes()).hexdigest())
    recipe = mini_recipe(tmp_path, tmp_path)
    recipe = recipe.model_copy(update={"sources": {"language": pinned}})
    (tmp_path / "out").mkdir()
    facts = ingest.run(Work(recipe, tmp_path / "out", recipe.run_dir))
    assert facts["sources"]["language"]["documents_out"] == 3
    assert facts["removed"]["language"]["binary"]["documents"] == 1
    wheel.unlink()
    assert fetch("sources.language", pinned, recipe.run_dir / "downloads" / "prose-sample-1.0").is_file()


def test_without_the_index_one_sentence_says_what_to_do(local_index, tmp_path):
    assert not list(local_index.iterdir())
    with pytest.raises(UserError, match=r"pip could not download prose-sample==1\.0 .*connect to a package index"):
        fetch("sources.language", source("0" * 64), tmp_path / "downloads")
    assert not (tmp_path / "downloads").exists()


def test_another_file_of_that_version_is_refused(local_index, tmp_path):
    write_wheel(local_index)
    with pytest.raises(UserError, match="pip could not download"):
        fetch("sources.language", source("0" * 64), tmp_path / "downloads")


def test_code_of_a_pinned_package(local_index, tmp_path):
    wheel = write_wheel(local_index)
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pinned = source_of(kind="pypi", role="code", package="prose-sample", version="1.0", sha256=sha256)
    document = reading(pinned, tmp_path).only()
    assert (document.repository, document.path, document.language) == ("prose-sample", "code.py", "python")
