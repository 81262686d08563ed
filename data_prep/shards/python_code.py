"""Python files cut into functions and classes, and documented functions turned into requests and answers."""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Fits = Callable[[str], bool]


@dataclass(frozen=True)
class DocumentedFunction:
    """A function without its docstring, and what the docstring and the signature say it should do."""

    request: str
    answer: str


def parse_python(text: str) -> ast.Module:
    """Parse Python source; raises SyntaxError for whatever stands in the way."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's code has invalid escapes
            return ast.parse(text)
    except (ValueError, RecursionError, MemoryError) as error:  # how the parser refuses hostile nesting
        raise SyntaxError(str(error)) from error


def functions_of(tree: ast.Module, text: str, fits: Fits) -> Iterator[str]:
    """Give every function and class of a file, with decorators and docstring, dedented.

    A class that does not fit is taken apart into its members; a function that does not fit is given all the same, so
    that the caller can count it.
    """
    lines = source_lines(text)
    for definition in _definitions(tree.body):
        yield from _pieces(definition, lines, fits)


def _pieces(definition: Definition, lines: Sequence[str], fits: Fits) -> Iterator[str]:
    piece = source_of(definition, lines)
    members = list(_definitions(definition.body)) if isinstance(definition, ast.ClassDef) else []
    if not members or fits(piece):
        yield piece
    else:
        for member in members:
            yield from _pieces(member, lines, fits)


def _definitions(body: Sequence[ast.stmt]) -> Iterator[Definition]:
    """Give the definitions of a block, also those under its conditions."""
    for statement in body:
        if isinstance(statement, Definition):
            yield statement
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            for name in ("body", "handlers", "orelse", "finalbody"):
                inner = getattr(statement, name, [])
                for block in [handler.body for handler in inner] if name == "handlers" else [inner]:
                    yield from _definitions(block)


def source_lines(text: str) -> list[str]:
    """Give a file's lines as Python's grammar counts them, which is not how `str.splitlines` does."""
    return re.split(r"\r\n|\r|\n", text)


def source_of(definition: Definition, lines: Sequence[str]) -> str:
    """Give the source of a definition, dedented."""
    return _dedented(lines[_first_line(definition) : definition.end_lineno])


def _first_line(definition: Definition) -> int:
    """Give the index of the line a definition starts at, its decorators included."""
    return min([definition.lineno, *(decorator.lineno for decorator in definition.decorator_list)]) - 1


def _dedented(lines: Sequence[str]) -> str:
    """Take the first line's indentation off every line that has it.

    Lines that do not are inside brackets or a string, where indentation says nothing to Python.
    """
    indentation = lines[0][: len(lines[0]) - len(lines[0].lstrip(" \t\f"))]
    return "\n".join(line.removeprefix(indentation) for line in lines).rstrip() + "\n"


def documented_functions(tree: ast.Module, text: str) -> Iterator[DocumentedFunction]:
    """Give the file's functions and methods that have a docstring and something besides it.

    Raises SyntaxError for arguments that cannot be written out.
    """
    lines = source_lines(text)
    for function in all_definitions(tree.body):
        if isinstance(function, ast.ClassDef) or len(function.body) < 2:
            continue
        docstring = ast.get_docstring(function, clean=False)
        if docstring is not None and (answer := _without_docstring(function, lines)) is not None:
            paragraph = re.split(r"\n\s*\n", inspect.cleandoc(docstring).strip())[0]
            if paragraph and is_encodable(paragraph):
                yield DocumentedFunction(_request(function, paragraph), answer)


def all_definitions(body: Sequence[ast.stmt]) -> Iterator[Definition]:
    """Give the functions and classes of a block and, in turn, the members of its classes."""
    for definition in _definitions(body):
        yield definition
        if isinstance(definition, ast.ClassDef):
            yield from all_definitions(definition.body)


def is_encodable(text: str) -> bool:
    """Tell whether text can be stored at all: an escape in a literal can spell half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _request(function: ast.FunctionDef | ast.AsyncFunctionDef, paragraph: str) -> str:
    try:
        arguments = ast.unparse(function.args)
    except RecursionError as error:
        raise SyntaxError(f"the arguments of {function.name} are nested too deeply") from error
    return f"{paragraph}\n\nWrite the Python function {function.name}({arguments})."


def _without_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: Sequence[str]) -> str | None:
    """Give a function's source without its docstring; None where the docstring shares a line with code."""
    docstring = function.body[0]
    start, end = docstring.lineno - 1, docstring.end_lineno
    assert end is not None
    before = lines[start].encode()[: docstring.col_offset]
    after = lines[end - 1].encode()[docstring.end_col_offset :]
    if before.strip() or after.strip():
        return None
    kept = [*lines[_first_line(function) : start], *lines[end : function.end_lineno]]
    return _dedented(kept)
