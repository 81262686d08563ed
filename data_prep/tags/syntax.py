"""Whether a text is valid in its language, where a parser is at hand that is fast and safe: Python and JSON."""

from __future__ import annotations

import json
import symtable
import warnings

MOST_CHARACTERS = 1_000_000  # a parser needs up to three hundred times a text's size


def is_valid_syntax(text: str, language: str) -> bool | None:
    """Tell whether the language's parser takes the text; None where that is not known."""
    if len(text) > MOST_CHARACTERS:
        return None
    if language == "python":
        return _is_python(text)
    return _is_json(text) if language == "json" else None


def _is_python(text: str) -> bool | None:
    """Tell whether the running Python takes the text; a table of symbols costs less than a tree of objects."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's code has invalid escapes
            symtable.symtable(text, "text", "exec")
    except (SyntaxError, ValueError):
        return False
    except (RecursionError, MemoryError):
        return None  # the parser's limit, not the text's fault
    return True


def _is_json(text: str) -> bool | None:
    """Tell whether a text is one JSON value, or one a line; numbers are not made, for they may be huge."""
    try:
        _parse(text)
    except RecursionError:
        return None  # the parser's limit, not the text's fault
    except ValueError:
        return _is_json_lines(text)
    return True


def _is_json_lines(text: str) -> bool | None:
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        for line in lines:
            _parse(line)
    except RecursionError:
        return None
    except ValueError:
        return False
    return len(lines) > 1


def _parse(text: str) -> None:
    json.loads(text, parse_int=len, parse_float=len)
