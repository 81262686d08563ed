"""The share of a text that is comments, by one regular expression per family of languages.

Each expression reads strings and comments in one pass, so that neither hides in the other; group 1 is a comment. A
string that may not span lines ends at the line's end, closed or not: a stray quote must not hide the rest of a file.
Python's docstrings count as comments, as they do for BigCode (preprocessing/utils/text_extraction.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

LINE = r"[^\n]*"
SLASHES = rf"//{LINE}"
BLOCK = r"/\*[\s\S]*?(?:\*/|\Z)"
HASH = rf"(?<![^\s;(){{}}\[\],])#{LINE}"
DASHES = rf"--{LINE}"
DOUBLE = r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"?'
SINGLE = r"'[^'\\\n]*(?:\\.[^'\\\n]*)*'?"
CHARACTER = r"'(?:\\.[^'\n]{0,10}|[^\\'\n])'"
BACKTICK = r"`[^`\\]*(?:\\[\s\S][^`\\]*)*`?"
MULTILINE_DOUBLE = r'"[^"\\]*(?:\\[\s\S][^"\\]*)*"?'
TRIPLE_DOUBLE = r'"""[^"\\]*(?:(?:\\[\s\S]|"(?!""))[^"\\]*)*(?:"""|\Z)'
TRIPLE_SINGLE = r"'''[^'\\]*(?:(?:\\[\s\S]|'(?!''))[^'\\]*)*(?:'''|\Z)"
RAW_CPP = r'R"(?P<fence>[^\s()\\"]{0,16})\([\s\S]*?(?:\)(?P=fence)"|\Z)'
RAW_RUST = r'r(?P<fence>#+)"[\s\S]*?(?:"(?P=fence)|\Z)'
JAVASCRIPT_PATTERN = r"(?<=[(,=:\[!&|?;{}+\n])[ \t]*/(?![*/ ])(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.){0,100}\]){1,100}/"
XML_COMMENT = r"<!--[\s\S]*?(?:-->|\Z)"
PASCAL_COMMENT = r"\(\*[\s\S]*?(?:\*\)|\Z)"


def _family(languages: str, comments: list[str], strings: list[str]) -> dict[str, str]:
    """Give every language of a comma-separated list the expression of its family."""
    pattern = "|".join(["(" + "|".join(comments) + ")", *strings])
    return dict.fromkeys(languages.split(", "), pattern)


PATTERNS: dict[str, str] = {
    **_family(
        "python, starlark, cython, gdscript, xonsh, mojo", [rf"#{LINE}"], [TRIPLE_DOUBLE, TRIPLE_SINGLE, DOUBLE, SINGLE]
    ),
    **_family(
        "c, objective-c, c#, opencl, glsl, hlsl, metal, systemverilog, verilog, d, vala, zig, protocol buffer, thrift, "
        "solidity, flatbuffers, linker script, antlr, yacc, lex, smpl, ros interface, wgsl, gradle, dm, ispc, slang",
        [SLASHES, BLOCK],
        [DOUBLE, CHARACTER],
    ),
    **_family(
        "java, kotlin, scala, swift, groovy, apex, ballerina", [SLASHES, BLOCK], [TRIPLE_DOUBLE, DOUBLE, CHARACTER]
    ),
    **_family("c++, cuda, objective-c++, hip, swig", [SLASHES, BLOCK], [RAW_CPP, DOUBLE, CHARACTER]),
    **_family("rust", [SLASHES, BLOCK], [RAW_RUST, MULTILINE_DOUBLE, CHARACTER]),
    **_family("go", [SLASHES, BLOCK], [DOUBLE, CHARACTER, r"`[^`]*`"]),
    **_family(
        "javascript, typescript, actionscript, qml, json with comments, json5, rescript, haxe",
        [SLASHES, BLOCK],
        [DOUBLE, SINGLE, BACKTICK, JAVASCRIPT_PATTERN],
    ),
    **_family("dart", [SLASHES, BLOCK], [TRIPLE_DOUBLE, TRIPLE_SINGLE, DOUBLE, SINGLE]),
    **_family("php, hack, hcl, nix, jsonnet", [SLASHES, BLOCK, rf"#(?!\[){LINE}"], [DOUBLE, SINGLE]),
    **_family("css", [BLOCK], [DOUBLE, SINGLE]),
    **_family("scss, less, sass, stylus", [rf"(?<!:)//{LINE}", BLOCK], [DOUBLE, SINGLE]),
    **_family(
        "shell, fish, awk, yaml, toml, makefile, r, elixir, crystal, gnuplot, puppet, graphql, nginx, just, "
        "pip requirements, tcl, sed, meson, ninja, open policy agent, bitbake, zeek, nushell",
        [HASH],
        [DOUBLE, SINGLE],
    ),
    **_family("ruby", [HASH, r"^=begin\b[\s\S]*?(?:^=end\b|\Z)"], [DOUBLE, SINGLE]),
    **_family("perl, raku", [HASH, r"^=[a-z]\w*[\s\S]*?(?:^=cut\b[^\n]*|\Z)"], [DOUBLE, SINGLE]),
    **_family("dockerfile, apacheconf", [rf"^[ \t]*#{LINE}"], []),
    **_family("cmake", [r"#\[(?P<fence>=*)\[[\s\S]*?(?:\](?P=fence)\]|\Z)", rf"#{LINE}"], [MULTILINE_DOUBLE]),
    **_family("julia", [r"#=[\s\S]*?(?:=#|\Z)", rf"#{LINE}"], [TRIPLE_DOUBLE, DOUBLE, CHARACTER]),
    **_family("nim", [r"#\[[\s\S]*?(?:\]#|\Z)", rf"#{LINE}"], [TRIPLE_DOUBLE, DOUBLE, CHARACTER]),
    **_family("powershell", [r"<#[\s\S]*?(?:#>|\Z)", rf"#{LINE}"], [DOUBLE, r"'[^'\n]*'?"]),
    **_family(
        "coffeescript", [r"###(?!#)[\s\S]*?(?:###|\Z)", rf"#{LINE}"], [TRIPLE_DOUBLE, TRIPLE_SINGLE, DOUBLE, SINGLE]
    ),
    **_family(
        "lua, luau, teal, moonscript", [r"--\[(?P<fence>=*)\[[\s\S]*?(?:\](?P=fence)\]|\Z)", DASHES], [DOUBLE, SINGLE]
    ),
    **_family("sql", [DASHES, BLOCK], [DOUBLE, r"'[^'\n]*'?"]),
    **_family(
        "haskell, elm, purescript, agda, idris, dhall, lean",
        [r"\{-[\s\S]*?(?:-\}|\Z)", r"/-[\s\S]*?(?:-/|\Z)", DASHES],
        [DOUBLE, CHARACTER],
    ),
    **_family("ada, vhdl, applescript", [DASHES], [r'"[^"\n]*"?', r"'[^\n]'"]),
    **_family("tex, bibtex", [rf"(?<!\\)%{LINE}"], []),
    **_family(
        "matlab, mercury",
        [r"^[ \t]*%\{[\s\S]*?(?:^[ \t]*%\}|\Z)", rf"%{LINE}"],
        [r'"[^"\n]*"?', r"(?<![\w)\]'.}])'[^'\n]*'?"],
    ),
    **_family("erlang", [rf"%{LINE}"], [DOUBLE, r"\$\\?.", SINGLE]),
    **_family("prolog", [rf"%{LINE}", BLOCK], [DOUBLE, SINGLE]),
    **_family(
        "common lisp, emacs lisp, scheme, racket, clojure, newlisp, fennel, hy, picolisp, janet",
        [rf";{LINE}", r"#\|[\s\S]*?(?:\|#|\Z)"],
        [MULTILINE_DOUBLE, r"[#?]?\\."],
    ),
    **_family("assembly, nasl", [rf";{LINE}", SLASHES, BLOCK, rf"^[ \t]*#{LINE}"], [DOUBLE, CHARACTER]),
    **_family("llvm, autohotkey", [rf";{LINE}"], [DOUBLE]),
    **_family("ini, java properties", [rf"^[ \t]*[;#!]{LINE}"], []),
    **_family("html, xml, svg, vue, svelte, xslt, html+erb, html+php, html+razor", [XML_COMMENT], []),
    **_family(
        "jinja, twig, liquid, handlebars, mustache",
        [XML_COMMENT, r"\{#[\s\S]*?(?:#\}|\Z)", r"\{\{!--[\s\S]*?(?:--\}\}|\Z)"],
        [],
    ),
    **_family("fortran", [r"![^\n]*", rf"^[cC*](?![A-Za-z]){LINE}"], [DOUBLE, r"'[^'\n]*'?"]),
    **_family(
        "visual basic .net, visual basic 6.0, vbscript", [rf"'{LINE}", rf"^[ \t]*(?i:rem)\b{LINE}"], [r'"[^"\n]*"?']
    ),
    **_family("batchfile", [rf"^[ \t]*@?(?:(?i:rem)\b|::){LINE}"], []),
    **_family("vim script", [rf'^[ \t]*"{LINE}'], []),
    **_family("m4", [rf"\bdnl\b{LINE}", HASH], []),
    **_family("pascal", [SLASHES, r"\{[\s\S]*?(?:\}|\Z)", PASCAL_COMMENT], [r"'[^'\n]*'?"]),
    **_family("ocaml, standard ml, wolfram language, rocq prover", [PASCAL_COMMENT], [MULTILINE_DOUBLE, CHARACTER]),
    **_family(
        "f#, reason", [r"\(\*(?!\))[\s\S]*?(?:\*\)|\Z)", SLASHES, BLOCK], [TRIPLE_DOUBLE, MULTILINE_DOUBLE, CHARACTER]
    ),
}
DOCSTRING_LANGUAGES = ("python", "starlark", "cython", "xonsh", "mojo")
STRING_PREFIXES = " \t\r\nrRuUbB"
AT_LINE_END = re.compile(r"[ \t;]*(?:[\r\n#]|\Z)")
FARTHEST_COLON = 200  # characters of white space between the colon and the docstring


def comment_fraction(text: str, language: str) -> float | None:
    """Give the share of characters in comments; None for a language whose comments are not known here."""
    if language not in PATTERNS:
        return None
    matches = _expression(PATTERNS[language]).finditer(text)
    if language in DOCSTRING_LANGUAGES:
        total = _comments_and_docstrings(text, matches)
    else:
        total = sum(match.end() - match.start() for match in matches if match[1] is not None)
    return total / max(len(text), 1)


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.M)


def _comments_and_docstrings(text: str, matches: Iterator[re.Match[str]]) -> int:
    """Add up comments, and strings that stand alone at the top of a file or on the line after a colon."""
    total = 0
    last_comment = (0, 0)
    is_beginning = True  # nothing but comments and blank lines so far
    end = 0
    for match in matches:
        start = match.start()
        between = text[end:start].strip(STRING_PREFIXES)
        is_beginning = is_beginning and not between
        if match[1] is not None:
            total += match.end() - start
            # Comments on end are one: the docstring may come after several.
            is_next = text[last_comment[1] : start].isspace()
            last_comment = (last_comment[0] if is_next else start, match.end())
        else:
            if AT_LINE_END.match(text, match.end()) and (is_beginning or _follows_colon(text, start, last_comment)):
                total += match.end() - start
            is_beginning = False
        end = match.end()
    return total


def _follows_colon(text: str, start: int, last_comment: tuple[int, int]) -> bool:
    """Tell whether a string begins its line, and the line of code before it ends in a colon."""
    window = max(start - FARTHEST_COLON, 0)
    line = text.rfind("\n", window, start) + 1
    if line == 0 or text[line:start].strip(STRING_PREFIXES):
        return False
    before = text[max(line - FARTHEST_COLON, 0) : line].rstrip()
    position = line - (min(line, FARTHEST_COLON) - len(before))
    if position == last_comment[1]:  # def f():  # why
        before = text[max(last_comment[0] - FARTHEST_COLON, 0) : last_comment[0]].rstrip()
    return before.endswith(":")
