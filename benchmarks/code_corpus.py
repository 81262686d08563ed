"""A corpus of real source code in many languages for the data benchmarks: named packages, downloaded once.

python benchmarks/code_corpus.py --cache FOLDER

PyPI and npm packages are fixed by version and checksum. Debian's, taken where `apt-get` is, are the newest of the
machine's release; `code_corpus.json` in the cache records the file and the checksum of each package that was taken.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from corpus import LANGUAGES

from codellama_train.artifacts import sha256_of
from codellama_train.console import UserError, print_table, run_program

RECORD = "code_corpus.json"
# Two Djangos, two lodashes, and rxjs, zod, date-fns and three in several builds: near-duplicates as the wild has them.
PYPI = {  # sha256 of the wheel
    "Django==4.2.16": "1ddc333a16fc139fd253035a1606bb24261951bbc3a6ca256717fa06cc41a898",
    "Django==5.1.3": "8b38a9a12da3ae00cb0ba72da985ec4b14de6345046b1e174b1fd7254398f818",
    "sympy==1.13.3": "54612cf55a62755ee71824ce692986f23c88ffa77207b30c1368eda4a7060f73",
}
NPM = {  # sha256 of the tarball
    "date-fns@2.30.0": "0a6899307d0887bb23b9b982068b4f4a6509e3075fc798ad0d8abe6b0dc2cc4e",
    "lodash@4.17.21": "6a087ac9e5702a0c9d60fbcd48696012646ec8df1491dea472b150e79fcaf804",
    "lodash-es@4.17.21": "777598ac703f02b403ef678cd11bce2150ad788f35c774ea7c9cc241a892cb7b",
    "rxjs@7.8.1": "c532167725ab7d085123209156c93cef22f2479cb9c8527060f1cd903aa9d149",
    "three@0.170.0": "4a608a355dcaba72e0e5383cdc814303f5b6060b43c238cdf6932dceb699238d",
    "typeorm@0.3.20": "12d63383bfa712607fce9fcc3025a1087a18aa7b44b1c26d0ec62bde0ce47501",
    "zod@3.25.76": "9e1f1a05f0dd0c1dab64ee91ceb9bf55cd44d35368c70edda80a2fdc70a88377",
}
DEBIAN = ("glibc-source", "golang-1.19-src", "phpmyadmin", "rust-src", "wordpress")


def code_corpus(cache: Path) -> Path:
    """Give the folder that holds one folder of source files per package, downloading what is not there yet."""
    folder = cache / "code"
    packages: list[tuple[str, Callable[[str, Path], Path], str | None]] = [
        *((name, _from_pypi, checksum) for name, checksum in PYPI.items()),
        *((name, _from_npm, checksum) for name, checksum in NPM.items()),
    ]
    if shutil.which("apt-get") and shutil.which("dpkg-deb"):
        packages += [(name, _from_debian, None) for name in DEBIAN]
    else:
        sys.stderr.write(
            "there is no apt-get on this machine: the corpus has no Debian packages, and no Go, Rust, C or PHP\n"
        )
    for name, download, checksum in packages:
        target = folder / name.replace("==", "-").replace("@", "-")
        if not target.exists():
            _unpacked(target, name, download, checksum)
    return folder


def _unpacked(target: Path, name: str, download: Callable[[str, Path], Path], checksum: str | None) -> None:
    """Download and unpack one package; its folder appears when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent.parent) as scratch:
        sys.stderr.write(f"downloading {name}\n")
        try:
            archive = download(name, Path(scratch))
        except subprocess.CalledProcessError as error:
            raise UserError(f"{name} cannot be downloaded: {' '.join(map(str, error.cmd))}\n{error.stderr}") from error
        actual = sha256_of(archive)
        if checksum is not None and actual != checksum:
            raise UserError(
                f"{archive.name} has the checksum {actual} instead of {checksum}; it is not the file measured"
            )
        contents = Path(scratch) / "contents"
        _unpack(archive, contents)
        for nested in sorted(contents.rglob("*.tar.xz")):
            _unpack(nested, nested.with_suffix(""))
            nested.unlink()
        contents.rename(target)
    record = target.parent.parent / RECORD
    taken = json.loads(record.read_text()) if record.exists() else {}
    record.write_text(json.dumps(taken | {name: {"file": archive.name, "sha256": actual}}, indent=2, sort_keys=True))


def _run(command: Sequence[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


def _only_file(folder: Path) -> Path:
    (path,) = [path for path in folder.iterdir() if path.is_file()]
    return path


def _from_pypi(name: str, folder: Path) -> Path:
    wheel = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    _run([sys.executable, "-m", "pip", "download", "--quiet", *wheel, "--dest", ".", name], folder)
    return _only_file(folder)


def _from_npm(name: str, folder: Path) -> Path:
    if shutil.which("npm") is None:
        raise UserError("the code corpus needs npm, which comes with Node.js; install it")
    _run(["npm", "pack", "--silent", name], folder)
    return _only_file(folder)


def _from_debian(name: str, folder: Path) -> Path:
    _run(["apt-get", "download", name], folder)
    return _only_file(folder)


def _unpack(archive: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)  # noqa: S202 - its checksum is pinned
    elif archive.suffix == ".deb":
        _run(["dpkg-deb", "--extract", str(archive), str(folder)], folder)
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")


def source_files(folder: Path) -> Iterator[Path]:
    """Give the corpus' source files, which leaves out pictures, fonts and compiled things, in a fixed order."""
    yield from (path for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES and path.is_file())


# What else these packages are written in, beside the languages that the other benchmarks read.
MORE_LANGUAGES = {
    "TypeScript": (".ts", ".tsx", ".mts", ".cts"),
    "Go": (".go",),
    "Rust": (".rs",),
    "PHP": (".php",),
    "Assembly": (".S", ".s"),
    "CSS": (".css", ".scss"),
    "HTML": (".html", ".twig"),
    "Shell": (".sh",),
    "Markdown and reST": (".md", ".rst"),
}
LANGUAGE_OF = {suffix: name for name, all_of in (LANGUAGES | MORE_LANGUAGES).items() for suffix in all_of}
SUFFIXES = frozenset(LANGUAGE_OF)


def main(arguments: Sequence[str]) -> None:
    """Download the corpus and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="the folder to keep downloads in")
    options = parser.parse_args(arguments)
    sizes: dict[str, list[int]] = {}
    for path in source_files(code_corpus(options.cache)):
        sizes.setdefault(LANGUAGE_OF[path.suffix], []).append(path.stat().st_size)
    rows = [(name, len(of), sum(of) / 1e6) for name, of in sorted(sizes.items(), key=lambda item: -sum(item[1]))]
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    print_table("Source files", ("language", "files", "MB"), rows)


if __name__ == "__main__":
    run_program(main)
