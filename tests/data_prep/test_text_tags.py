"""Tags of texts against plain counting, the tokenizer and parser of Python, pygments, and the patterns themselves."""

from __future__ import annotations

import ast
import io
import json
import re
import time
import tokenize
from html.parser import HTMLParser

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preparing import STDLIB
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment

from data_prep.tags.comments import PATTERNS, comment_fraction
from data_prep.tags.generated import generated_marks, is_minified, is_vendored
from data_prep.tags.languages import KNOWN_LANGUAGES
from data_prep.tags.text_tags import TEXT_TAGS, tags_of_text

FILES = [path for path in sorted(STDLIB.glob("*.py")) if path.stat().st_size < 60_000][::3]


@settings(deadline=None)  # expressions are compiled on the way
@given(st.text(max_size=300))
def test_tags_are_those_of_plain_counting(text):
    tags = tags_of_text(text)
    lines = text.splitlines()
    filled = [line.strip() for line in lines if line.strip()]
    length = max(len(text), 1)
    assert tags["num_bytes"] == len(text.encode())
    assert tags["num_words"] == len(re.findall(r"[^\x00-/:-@\[-^`{-\x7f]+", text))
    assert tags["num_lines"] == max(len(lines), 1)
    assert tags["longest_line"] == max([len(line) for line in lines], default=0)
    assert tags["mean_line"] == pytest.approx(sum(map(len, lines)) / max(len(lines), 1))
    assert tags["alphanumeric_fraction"] == pytest.approx(sum(map(str.isalnum, text)) / length)
    assert tags["alphabetic_fraction"] == pytest.approx(sum(map(str.isalpha, text)) / length)
    assert tags["digit_fraction"] == pytest.approx(sum(map(str.isdigit, text)) / length)
    assert tags["duplicate_line_fraction"] == pytest.approx((len(filled) - len(set(filled))) / max(len(filled), 1))
    assert pa.Table.from_pylist([tags], schema=TEXT_TAGS).num_columns == len(tags)


def test_texts_that_differ_in_white_space_only_hash_alike():
    assert tags_of_text("a b\n\tc")["content_hash"] == tags_of_text(" a  b c\r\n")["content_hash"]
    assert tags_of_text("a b")["content_hash"] != tags_of_text("ab")["content_hash"]


PIECES = ["0x41,", "0x41, ", r"\x41", "41 ", "41", r"\u0041", "abcd", "ABCD" * 20, "=\n", " ", "\n", "é", "g", "x", ","]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_encoded_data_is_what_the_papers_patterns_match(text):
    patterns = (
        r"[a-zA-Z0-9+/\n=]{64,}",
        r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}",
        r"(?:\\u[0-9a-fA-F]{4}){8,}",
    )
    spans = [match.span() for pattern in patterns for match in re.finditer(pattern, text, re.ASCII)]
    covered = {position for start, end in spans for position in range(start, end)}
    tags = tags_of_text(text)
    assert tags["encoded_fraction"] == pytest.approx(len(covered) / max(len(text), 1))
    assert tags["longest_encoded_run"] == max([end - start for start, end in spans], default=0)


DOCUMENTED = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def comments_and_docstrings(text: str) -> float:
    """Give Python's own measure of the comment share."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    total = sum(len(token.string) for token in tokens if token.type == tokenize.COMMENT)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(
            node
        ):
            total += len(ast.get_source_segment(text, node.body[0].value) or "")
    return total / len(text)


def test_comments_of_python_files_are_those_of_its_own_tokenizer():
    differences = [
        abs(comment_fraction(text, "python") - comments_and_docstrings(text))
        for text in (path.read_text() for path in FILES)
    ]
    assert len(differences) > 40
    assert sum(difference > 0.005 for difference in differences) <= 0.05 * len(differences)
    assert max(differences) < 0.06


SNIPPETS = {
    "c": '/* a */ int x = 1; // b "\nchar *s = "// no", c = \'"\'; /* long\n */\n',
    "javascript": 'const a = `// no`, b = /["\'\\/]/; // yes\n/* more */ let u = "http://x";\n',
    "go": "x := `/* no */` // yes\n",
    "java": 'String s = """\n // no\n """; // yes\n',
    "rust": 'let s: &\'a str = "// no"; // yes\n',
    "sql": "SELECT '-- no' -- yes\n/* and */ FROM t;\n",
    "ruby": 'x = "# no #{y}" # yes\n=begin\nall\n=end\n',
    "bash": "echo $# \"# no\" '# no' # yes\n",
    "lua": 's = "-- no" --[[ yes\n ]] -- yes\n',
    "haskell": 's = "-- no" {- yes -} -- yes\n',
    "css": 'a { content: "/* no */" } /* yes */\n',
    "yaml": "a: b # yes\nc: d#no\n",
    "cmake": 'set(x "# no") # yes\n#[[ yes\n ]]\n',
    "powershell": "$x = '# no' <# yes #> # yes\n",
    "scheme": '(f "; no") ; yes\n#| yes |#\n',
    "erlang": 'f() -> "% no". % yes\n',
    "xml": '<a b="c"/><!-- yes -->\n',
}
OUR_NAMES = {"bash": "shell"}


@pytest.mark.parametrize("name", SNIPPETS)
def test_comments_are_those_that_pygments_finds(name):
    text = SNIPPETS[name]
    lexer = get_lexer_by_name(name, stripnl=False, ensurenl=False)
    comments = [value.rstrip("\n") for kind, value in lexer.get_tokens(text) if kind in Comment]
    ours = comment_fraction(text, OUR_NAMES.get(name, name))
    assert ours == pytest.approx(sum(map(len, comments)) / len(text), abs=2 / len(text))
    assert ours > 0


def test_comments_are_known_of_languages_that_exist_and_of_no_others():
    assert set(PATTERNS) <= KNOWN_LANGUAGES
    assert comment_fraction("# x", "json") is None


HOSTILE = {  # pieces that would make a careless expression look at the rest of the file again and again
    "c": [
        "/*",
        "'\\",
        "a@b.co",
        "a@b.co.",
        "1.2.3.4",
        "93.184.216.34.",
        "2001:",
        "password=",
        'password="',
        "eyJ",
        "://a:",
    ],
    "c++": ['R"(', "-----BEGIN PRIVATE KEY-----", "0x41,", "\\u0041", "ghp_aB3", "generated ", "a" * 63 + "@"],
    "javascript": ["=/[", "=/a", "`${"],
    "python": ['"""\\', '"', ':\n"""a"""', " " * 50 + '"""a"""'],
    "html": ["<!--", "<script>", "<a"],
    "rust": ['r#"'],
    "cmake": ["#[==["],
    "lua": ["--[=["],
    "jinja": ["{#"],
    "perl": ["\n=a"],
    "scss": ["://"],
    "common lisp": ['"\\'],
    "json": ['{"a":', "[1,"],
}


@pytest.mark.parametrize(("language", "unit"), [(name, unit) for name, units in HOSTILE.items() for unit in units])
def test_hostile_files_take_no_longer_than_others(language, unit):
    text = unit * (200_000 // len(unit))
    started = time.process_time()
    tags_of_text(text, language=language)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("text", "path", "is_generated"),
    [
        ("// Code generated by protoc-gen-go. DO NOT EDIT.\n", "a.go", True),
        ("/* Generated by Cython 3.0 */\n", "a.c", True),
        ("# This file was automatically generated from x.py\n", "a.py", True),
        ("// @generated\n", "a.js", True),
        ("x = 1\n", "a_pb2.py", True),
        ("class A {}\n", "Form.designer.cs", True),
        ('{"version":3,"sources":[]}', "a.map", True),
        ("f();\n//# sourceMappingURL=a.js.map\n", "a.js", True),
        ("{}", "web/package-lock.json", True),
        ("# Written by hand.\nx = 1\n", "a.py", False),
        ("x = 1\n" * 300 + "# do not edit\n", "a.py", False),
        ("def degenerated(): ...\n", "src/block.py", False),
        ("* The sum, generated by the compiler, is exact.\n", "a.c", False),
        ("__hash__ is generated by a decorator\n", "a.py", False),
    ],
)
def test_generated_files_are_marked(text, path, is_generated):
    assert (generated_marks(text, path) > 0) is is_generated


def test_the_standard_library_is_neither_generated_nor_vendored():
    marked = [path.name for path in STDLIB.glob("*.py") if generated_marks(path.read_text("utf-8"), path.name)]
    assert len(marked) <= 5, marked
    assert "token.py" in marked  # Auto-generated by Tools/build/generate_token.py
    assert not any(is_vendored(path.relative_to(STDLIB).as_posix()) for path in STDLIB.glob("[a-l]*/*.py"))


@pytest.mark.parametrize(
    ("path", "vendored"),
    [
        ("node_modules/x/a.js", True),
        ("src/third_party/a.c", True),
        ("vendor/github.com/x/a.go", True),
        ("static/jquery-3.1.0.min.js", True),
        ("js/bootstrap.js", True),
        ("pip/_vendor/idna/core.py", True),
        ("src/vendors.py", False),
        ("src/reaction.js", False),
        ("src/config.py", False),
    ],
)
def test_vendored_files_are_told_by_their_path(path, vendored):
    assert is_vendored(path) is vendored


def test_minified_is_a_script_of_long_lines():
    assert is_minified("a/b.min.js", 2_000, 2)
    assert not is_minified("a/b.js", 2_000, 50)
    assert not is_minified("a/b.py", 2_000, 2)


class VisibleText(HTMLParser):
    """The standard library's reading of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.visible: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag, attrs):  # noqa: ARG002 - the parser's own signature
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style") and self.hidden > 0

    def handle_data(self, data):
        if not self.hidden:
            self.visible.append(data)


HTML_PIECES = ["<p class='a'>", "</p>", "words ", "&amp;", "<!-- c -->", "<br/>"]
HTML_PIECES += ["<script>if (a < b) x()</script>", "<style>a {}</style>"]


@given(st.lists(st.sampled_from(HTML_PIECES)).map("".join))
def test_what_a_reader_sees_of_a_page_is_what_an_html_parser_says(text):
    parser = VisibleText()
    parser.feed(text)
    parser.close()
    tags = tags_of_text(text, language="html")
    assert tags["visible_characters"] == len("".join(parser.visible))
    assert tags_of_text(text, language="c")["visible_characters"] is None


@pytest.mark.parametrize(
    ("text", "language", "verdict"),
    [
        ("x = 1\n", "python", 1),
        ("print 'old'\n", "python", 0),
        ("x = '\\d'\n", "python", 1),
        ("(" * 10_000, "python", 0),
        ("x\0y", "python", 0),
        ('{"a": [1, 2.5e300, 1' + "0" * 5_000 + "]}", "json", 1),
        ('{"a": 1}\n{"a": 2}\n', "json", 1),
        ("{'a': 1}", "json", 0),
        ("[" * 200_000, "json", None),
        ("whatever", "c", None),
    ],
)
def test_validity_is_what_the_languages_parser_says(text, language, verdict):
    found = tags_of_text(text, language=language)["is_valid_syntax"]
    assert found == verdict or (verdict == 0 and found is None and text.startswith("("))


def test_python_is_valid_where_ast_parses_it():
    for path in FILES:
        ast.parse(path.read_text())
        assert tags_of_text(path.read_text(), language="python")["is_valid_syntax"] == 1, path


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), lambda inner: st.lists(inner)))
def test_json_is_valid(value):
    assert tags_of_text(json.dumps(value), language="json")["is_valid_syntax"] == 1
