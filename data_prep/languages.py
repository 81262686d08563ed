"""Programming languages by file extension: the widely used rows of GitHub Linguist's table."""

from __future__ import annotations

import re

EXTENSIONS = {
    "assembly": ("asm", "s"),
    "c": ("c", "h"),
    "c#": ("cs",),
    "c++": ("cc", "cpp", "cxx", "hh", "hpp", "hxx", "inl", "ipp"),
    "cuda": ("cu", "cuh"),
    "cython": ("pyx", "pxd", "pxi"),
    "dart": ("dart",),
    "fortran": ("f90", "f95"),
    "go": ("go",),
    "haskell": ("hs",),
    "java": ("java",),
    "javascript": ("js", "jsx", "mjs", "cjs"),
    "julia": ("jl",),
    "kotlin": ("kt", "kts"),
    "lua": ("lua",),
    "perl": ("pl", "pm"),
    "php": ("php",),
    "python": ("py", "pyw"),  # and not pyi: stubs are declarations without code
    "r": ("r",),
    "ruby": ("rb",),
    "rust": ("rs",),
    "scala": ("scala",),
    "shell": ("sh", "bash"),
    "sql": ("sql",),
    "swift": ("swift",),
    "typescript": ("ts", "tsx"),
    "zig": ("zig",),
}
LANGUAGE_OF_EXTENSION = {extension: language for language, names in EXTENSIONS.items() for extension in names}
ENGLISH = "english"

# Linguist's heuristic for .h, shortened: what only C++ has at the start of a line.
CPP_HEADER = re.compile(r"^\s*(?:template\s*<|namespace\b|class\s+\w|using\s+\w|#\s*include\s*<[a-z_]+>)|std::", re.M)


def language_of_name(name: str) -> str | None:
    """Tell a file's language from its name; None for what is not source code."""
    stem, dot, extension = name.rpartition(".")
    return LANGUAGE_OF_EXTENSION.get(extension.lower()) if dot and stem else None


def language_of(name: str, text: str) -> str | None:
    """Tell a file's language from its name, and from its text where the name is ambiguous."""
    language = language_of_name(name)
    if language == "c" and name.lower().endswith(".h") and CPP_HEADER.search(text):
        return "c++"
    return language
