"""Cutting documents: functions parse, blocks balance, dialogues lose their docstring, prose loses nothing."""

from __future__ import annotations

import ast
import re
import string
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from preparing import MODULES, STDLIB

from codellama_train.tokens.dialogue import TAGS
from data_prep.shards.blocks import blocks_of
from data_prep.shards.pieces import pieces_of
from data_prep.shards.python_code import documented_functions, functions_of, parse_python
from data_prep.sources.documentation import is_documentation, texts_of
from data_prep.sources.prose import split_prose

FILES = [path for module in MODULES for path in sorted((STDLIB / module).glob("*.py"))]
SAMPLE = '''import os

@decorated(
    1)
def first(a, b=2):
    """Add.

    Much later.
    """
    text = """
unindented
"""
    return a + b

class Long:
    """Says a lot."""

    def method(self):
        return 1

    if os.name == "nt":
        async def other(self):
            "Waits."
            await self

x = 3
'''


def definitions(tree: ast.Module) -> int:
    return sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in tree.body)


def cut(text: str, longest: int = 10**9) -> list[str]:
    return list(functions_of(parse_python(text), text, lambda piece: len(piece) <= longest))


def test_functions_are_cut_with_decorators_and_dedented():
    first, long_class = cut(SAMPLE)
    assert first.startswith("@decorated(\n    1)\ndef first(a, b=2):\n")
    assert first.endswith('"""\n    return a + b\n')
    assert "\nunindented\n" in first
    assert long_class.startswith("class Long:")


def test_a_class_that_does_not_fit_gives_its_members():
    _, method, other = cut(SAMPLE, longest=150)
    assert method == "def method(self):\n    return 1\n"
    assert other == 'async def other(self):\n    "Waits."\n    await self\n'


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_of_any_kind_give_the_same_functions(line_end):
    assert cut(SAMPLE.replace("\n", line_end)) == cut(SAMPLE)


def test_characters_that_only_some_call_line_ends_do_not_shift_the_cut():
    text = 'x = "a\x0cb\x1cc\u2028d\x85e"\n\ndef f():\n    return 1\n'
    assert cut(text) == ["def f():\n    return 1\n"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_function_of_real_files_parses_alone(path):
    text = path.read_text("utf-8")
    for piece in cut(text, longest=300):
        tree = ast.parse(piece)
        assert definitions(tree) == len(tree.body) == 1, piece


def code_from(shape: list[tuple[int, str]]) -> str:
    """Write a module of nested classes and functions: each line's depth is bounded by where a block is open."""
    lines, depth = ["x = 0"], 0
    for wanted, name in shape:
        depth = min(wanted, depth)
        indentation = "    " * depth
        if name.startswith("C"):
            lines += [f"{indentation}class {name}:", f'{indentation}    """Class {name}."""']
            depth += 1
        else:
            lines += [
                f"{indentation}@property",
                f"{indentation}def {name}(self,",
                "a=1):",
                f"{indentation}    return '''",
                "z'''",
            ]
    return "\n".join(lines) + "\n"


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["Ca", "Cb", "f", "g"])), max_size=12), st.integers(1, 400)
)
def test_every_cut_of_generated_code_parses_and_is_whole(shape, longest):
    text = code_from(shape)
    functions = sum(not name.startswith("C") for _, name in shape)
    pieces = cut(text, longest)
    assert all(definitions(ast.parse(piece)) == 1 for piece in pieces)
    assert sum(piece.count("@property") for piece in pieces) == functions


@pytest.mark.parametrize("text", ["def f(:\n", "x = 1\0", "(" * 10_000, "-" * 100_000 + "1"])
def test_what_python_cannot_parse_is_a_syntax_error(text):
    with pytest.raises(SyntaxError):
        parse_python(text)


def test_dialogues_have_the_docstring_as_request_and_the_rest_as_answer():
    first, other = documented_functions(parse_python(SAMPLE), SAMPLE)
    assert first.request == "Add.\n\nWrite the Python function first(a, b=2)."
    assert first.answer.startswith("@decorated(\n    1)\ndef first(a, b=2):\n    text = ")
    assert "Add." not in first.answer
    assert other.answer == "async def other(self):\n    await self\n"


@pytest.mark.parametrize("text", ['def f(): "doc"; return 1\n', 'def f():\n    "only"\n', "def f():\n    return 1\n"])
def test_functions_without_a_docstring_of_its_own_lines_give_no_dialogue(text):
    assert list(documented_functions(parse_python(text), text)) == []


@pytest.mark.parametrize("path", FILES[::4], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_answers_of_real_files_differ_from_the_source_by_the_docstring_only(path):
    text = path.read_text("utf-8")
    for function in documented_functions(parse_python(text), text):
        (definition,) = ast.parse(function.answer).body
        assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
        assert definition.body


def test_a_docstring_that_cannot_be_stored_gives_nothing():
    text = 'def f():\n    "\\ud800"\n    return 1\n'
    assert list(documented_functions(parse_python(text), text)) == []
    assert list(texts_of(Path("a.py"), text, min_docstring_characters=1)) == []


def test_pieces_of_chat_tags_are_recognised():
    text = f'def f():\n    "Print {TAGS[0]}."\n    print(1)\n'
    (piece,) = pieces_of(text, "python", "dialogues", lambda _: True)
    assert TAGS[0] in piece.text


C_SAMPLE = """/* A brace { in a comment. */
#include <x>

namespace a {

// One.
int one() {
  char open = '{';
  return 1;

  /* } */
}

struct Two { int x; };

int declared(void);
}  // namespace a
"""


def test_braces_decide_what_a_block_is():
    blocks = list(blocks_of(C_SAMPLE, "c++", lambda block: len(block) < 120))
    assert blocks == [
        "// One.\nint one() {\n  char open = '{';\n  return 1;\n\n  /* } */\n}\n",
        "struct Two { int x; };\n",
    ]


def test_a_namespace_that_fits_stays_whole():
    (block,) = blocks_of(C_SAMPLE, "c++", lambda _: True)
    assert block.startswith("namespace a {")
    assert block.endswith("}  // namespace a\n")


def test_indentation_decides_where_there_are_no_braces():
    text = (
        "cdef class A:\n\n    def one(self):\n        return 1\n\n    cdef int two(self):\n        return 2\n\nx = 3\n"
    )
    assert list(blocks_of(text, "cython", lambda block: len(block) < 60)) == [
        "def one(self):\n    return 1\n",
        "cdef int two(self):\n    return 2\n",
    ]


@given(
    st.lists(st.sampled_from(["{", "}", "(", ")", "\n\n", "a", "\n", '"', "//", "/*", "*/", "  "]), max_size=60).map(
        "".join
    )
)
def test_blocks_are_in_the_file_and_balanced(text):
    squeezed = re.sub(r"\s+", "", text)
    for block in blocks_of(text, "c", lambda block: len(block) <= 20):
        assert re.sub(r"\s+", "", block) in squeezed


@given(st.text(alphabet="ab .\n \t", max_size=300), st.integers(1, 60))
def test_prose_loses_blank_lines_only(text, limit):
    parts = list(split_prose(text, limit))
    assert "".join("".join(parts).split()) == "".join(text.split())
    for part in parts:
        assert part.strip()
        assert len(part) <= limit + 1 or "\n" not in part.strip("\n")


def test_prose_prefers_scenes_to_paragraphs():
    scene = "\n\n".join(string.ascii_lowercase[:3])
    assert list(split_prose(f"{scene}\n\n\n\n{scene}", 8)) == [scene + "\n", scene + "\n"]


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("README.txt", True),
        ("docs/index.txt", True),
        ("CMakeLists.txt", False),
        ("a.md", True),
        ("LICENSE.md", False),
        ("x-1.dist-info/METADATA", True),
        ("METADATA", False),
        ("a.py", True),
        ("a.c", False),
    ],
)
def test_what_counts_as_documentation(path, taken):
    assert is_documentation(Path(path)) is taken


def test_long_docstrings_and_descriptions_are_documents():
    text = textwrap.dedent('''
        """Module of many words indeed."""

        class A:
            """Short."""

            def f(self):
                """A longer text.

                    Indented more.
                """
    ''')
    parts = dict(texts_of(Path("a.py"), text, min_docstring_characters=20))
    assert parts == {
        "docstring:0": "Module of many words indeed.\n",
        "docstring:7": "A longer text.\n\nIndented more.\n",
    }
    metadata = "Metadata-Version: 2.1\nName: x\n\n# Title\n\nWords.\n"
    assert dict(texts_of(Path("x.dist-info/METADATA"), metadata, min_docstring_characters=1)) == {
        "description": "# Title\n\nWords.\n"
    }
