"""Languages of files: the table against itself and pygments, contents where names are ambiguous, real headers."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from pygments.lexers import get_all_lexers

from data_prep.removals import Removals
from data_prep.sources.folders import plan
from data_prep.tags.language_content import RULES
from data_prep.tags.language_table import DATA, MARKUP, PROGRAMMING
from data_prep.tags.languages import KINDS, kind_of_language, language_of, language_of_name


@pytest.mark.parametrize(
    ("name", "text", "language"),
    [
        ("a.py", "", "python"),
        ("A.CPP", "", "c++"),
        ("a.h", "int f(void);\n", "c"),
        ("a.h", "namespace x {\n}\n", "c++"),
        ("a.h", "#include <vector>\n", "c++"),
        ("a.h", "#include <stdio.h>\n", "c"),
        ("a.h", "@interface A : NSObject\n@end\n", "objective-c"),
        ("a.m", "#import <Foundation/Foundation.h>\n", "objective-c"),
        ("a.m", "function y = f(x)\n  y = x;\nend\n", "matlab"),
        ("a.m", "(* a comment *)\nf[x_] := x\n", "wolfram language"),
        ("a.pl", "use strict;\nmy $x = 1;\n", "perl"),
        ("a.pl", "parent(X, Y) :- child(Y, X).\n", "prolog"),
        ("a.ts", "export const x: number = 1;\n", "typescript"),
        ("a.ts", '<?xml version="1.0"?>\n<TS version="2.1">\n', "xml"),
        ("a.v", "module top(input a);\nendmodule\n", "verilog"),
        ("a.v", "Require Import Arith.\nProof. Qed.\n", "rocq prover"),
        ("a.v", "fn main() {\n}\n", "v"),
        ("a.fs", "let x = 1\n", "f#"),
        ("a.fs", "#version 330\nuniform vec3 x;\n", "glsl"),
        ("a.cls", "\\ProvidesClass{article}\n", "tex"),
        ("a.cls", "public class A {}\n", "apex"),
        ("a.inc", "<?php echo 1;\n", "php"),
        ("a.r", "x <- 1\n", "r"),
        ("a.d", "main.o: main.c main.h\n", "makefile"),
        ("a.d", "module a;\nimport std.stdio;\n", "d"),
        ("a.cl", "__kernel void f() {}\n", "opencl"),
        ("a.inc", "what is this\n", None),
        ("a.msg", "namespace eval ::tk {\n}\n", "tcl"),
        ("a.msg", "# pose\nfloat64 x\nfloat64 y\n", "ros interface"),
        ("a.pyi", "", None),
        (".py", "", None),
        ("a.ipynb", "{}", None),
        ("README.md", "# Title\n", None),
        ("package-lock.json", "{}", "json"),
        ("poetry.lock", "", None),
        ("Makefile", "", "makefile"),
        ("CMakeLists.txt", "", "cmake"),
        ("build.gradle.kts", "", "kotlin"),
        ("a.d.ts", "declare const x: number;\n", "typescript"),
        ("run", "#!/usr/bin/env python3\n", "python"),
        ("run", "#!/usr/bin/env -S FOO=1 node --x\n", "javascript"),
        ("run", "#!/bin/sh -e\n", "shell"),
        ("run", "no script\n", None),
        ("run.txt", "#!/bin/sh\n", None),
        ("libfoo.so.1", "", None),
    ],
)
def test_languages(name, text, language):
    assert language_of(name, text) == language


def test_the_table_gives_every_extension_name_and_interpreter_to_one_language():
    for place in range(3):
        owners: dict[str, str] = {}
        for entry in re.split(r" \| |\n(?! )", "\n".join((PROGRAMMING, MARKUP, DATA)).strip()):
            language, _, owned = entry.partition(":")
            for key in [*owned.split(";"), "", ""][place].split():
                assert owners.setdefault(key, language) == language, key
        assert len(owners) > (100, 100, 50)[place]
    assert {language for rules in RULES.values() for language, _ in rules} <= set(KINDS)
    assert (kind_of_language("python"), kind_of_language("css"), kind_of_language("json")) == (
        "programming",
        "markup",
        "data",
    )


# Where pygments names a dialect, a host language or an older owner of the extension.
LEXERS_OF_DIALECTS = 80


def test_the_table_agrees_with_the_lexers_of_pygments():
    claimed: dict[str, list[set[str]]] = {}
    for name, aliases, patterns, _ in get_all_lexers():
        for pattern in patterns:
            if re.fullmatch(r"\*\.\w+", pattern):
                claimed.setdefault(pattern[1:], []).append({_letters(each) for each in (name, *aliases)})
    ours = {extension: language for extension in claimed if (language := language_of_name("a" + extension))}
    agreeing = [e for e, language in ours.items() if any(_letters(language) in names for names in claimed[e])]
    assert len(ours) > 400
    assert len(ours) - len(agreeing) <= LEXERS_OF_DIALECTS


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9+#]", "", name.lower())


def test_real_headers_are_told_apart():
    c_headers = list(Path(sysconfig.get_path("include")).glob("*.h"))
    languages = [language_of(path.name, path.read_text()) for path in c_headers]
    assert len(languages) > 50
    assert languages.count("c") >= len(languages) - 2  # two hold pieces for C++
    numpy_headers = Path(np.get_include(), "numpy").glob("*.h")
    others = [path.name for path in numpy_headers if language_of(path.name, path.read_text()) != "c"]
    assert others in ([], ["dynamic_annotations.h"])  # which has a template for C++


def test_scripts_without_an_extension_are_found_and_other_files_are_not(tmp_path, folders_source):
    (tmp_path / "run").write_text("#!/usr/bin/env python\nprint(1)\n")
    (tmp_path / "LICENSE").write_text("words\n")
    (tmp_path / "a.json").write_text("{}\n")
    (tmp_path / "a.inc").write_text("<?php echo 1;\n")
    (tmp_path / "a.py").write_bytes(b"x = 1\n")
    assert _planned(folders_source(tmp_path)) == ["a.inc", "a.json", "a.py", "run"]
    assert _planned(folders_source(tmp_path, language_kinds=["data"])) == ["a.inc", "a.json", "run"]


def _planned(source) -> list[str]:
    tasks = plan("code", source, Removals(), Path()).tasks
    return sorted(file["relative"] for task in tasks for file in task["files"])


@pytest.fixture
def folders_source():
    from codellama_train.recipe.data_sources import FoldersSource

    def make(path, **keys):
        caps = {"max_file_bytes": 1_000, "max_megabytes": 1, "max_megabytes_per_repository": 1}
        return FoldersSource(kind="folders", paths=[str(path)], exclude_folders=[], **caps, **keys)

    return make
