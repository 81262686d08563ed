r"""Rules that read a text where its extension belongs to several languages, after Linguist's heuristics.yml.

Each is the language and a pattern of what only its files hold; the first that is found decides, and where none is, the
extension's entry in the table stands.
"""

from __future__ import annotations

import re

CHARACTERS_READ = 50_000  # Linguist reads as many bytes

CPP = (
    r"^\s*#\s*include\s*<[a-z_]+>|^\s*template\s*<|^[ \t]*(?:class|(?:using[ \t]+)?namespace)\s+\w+|std::\w+"
    r"|^[ \t]*using\s+\w+\s*=|^[ \t]*(?:private|public|protected):$|^[ \t]*(?:try|constexpr)\b|__cplusplus >"
)
OBJECTIVE_C = (
    r'^\s*(?:@(?:interface|class|protocol|property|end|synchronised|selector|implementation)\b|#import\s+.+\.h[">])'
)
PERL = (
    r"\buse\s+(?:strict\b|v?5\b)|^\s*use\s+(?:constant|overload)\b|^\s*(?:my|our)\s+[$@%]"
    r"|^\s*package\s+[^\W\d]\w*(?:::\w+)*\s*;"
)
RAKU = r"^\s*use\s+v6\b|^\s*(?:unit\s+)?(?:module|class|role|grammar)\s+[\w:]+\s*[;{]"
PROLOG = r"^[^#\n]*:-"
XML = r"\A\s*<\?xml\b"
FORTRAN = r"^(?i:[c*][^abd-z]|      (?:subroutine|program|end|data)\s|\s*!)"
VISUAL_BASIC = r"^[ ]*VERSION [0-9]\.[0-9]+(?: CLASS)?|^[ ]*Attribute VB_"
ASSEMBLY = r"^\s+(?i:mov|db)\s+\S+"
PASCAL = r"^\s*(?i:\{\$(?:mode|ifdef|undef|define)[ ]|end[.;]\s*$)"

RULES: dict[str, tuple[tuple[str, str], ...]] = {
    "h": (("objective-c", OBJECTIVE_C), ("c++", CPP)),
    "hh": (("hack", r"<\?hh"),),
    "m": (
        ("objective-c", OBJECTIVE_C + r"|^\s*#\s*include\b"),
        ("mercury", r":- module"),
        ("wolfram language", r"\(\*[\s\S]*?\*\)|^\s*\w+\[.*\]\s*:="),
        ("matlab", r"^\s*%|^\s*(?:function|classdef)\b|^\s*end\s*$"),
    ),
    "mm": (("xml", XML),),
    "pl": (("perl", r"\A#!.*perl|" + PERL), ("prolog", PROLOG), ("raku", RAKU)),
    "pm": (("perl", PERL), ("raku", RAKU)),
    "t": (("perl", r"\A#!.*perl|" + PERL), ("raku", RAKU), ("turing", r"^\s*%[ \t]+|^\s*var\s+\w+\s*:=\s*\w+")),
    "ts": (("xml", r"<TS\b|" + XML), ("typescript", r"\S")),
    "tsx": (("xml", XML),),
    "v": (
        ("rocq prover", r"(?:^|\s)(?:Proof|Qed)\.(?:$|\s)|(?:^|\s)Require[ \t]+(?:Import|Export)\s"),
        (
            "verilog",
            r"^[ \t]*module\s+[^\s()]+\s*#?\(|^[ \t]*`(?:define|ifdef|ifndef|include|timescale)|^[ \t]*always[ \t]*@",
        ),
        ("v", r"\$(?:if|else)[ \t]|^[ \t]*(?:pub )?fn\s+[^\s()]+\(.*?\).*?\{|^[ \t]*for\s*\{|^module \w+$"),
    ),
    "inc": (
        ("php", r"^<\?(?:php)?"),
        ("pov-ray sdl", r"^\s*#(?:declare|local|macro|while)\s"),
        ("pascal", PASCAL),
        ("bitbake", r"^inherit(?:\s+[\w.-]+)+\s*$"),
        ("assembly", ASSEMBLY),
        ("c++", CPP + r"|^\s*#\s*(?:include|define|ifdef|ifndef)\b"),
    ),
    "cls": (
        ("visual basic 6.0", VISUAL_BASIC),
        ("tex", r"^\s*\\(?:NeedsTeXFormat|ProvidesClass)\{"),
        ("objectscript", r"^Class\s"),
        ("apex", r"^\s*(?i:@\w+\s+)*(?i:public|private|global|virtual|abstract)\b.*\bclass\b"),
    ),
    "fs": (
        ("forth", r"^(?:: |new-device)"),
        ("f#", r"^\s*(?:#light|import|let|module|namespace|open|type)\b"),
        ("glsl", r"^\s*(?:#version|precision|uniform|varying|vec[234])\b"),
    ),
    "r": (("rebol", r"(?i:\bRebol\b)"), ("rez", r"(?:resource|data|type)\s+'[A-Za-z0-9]{4}'\s")),
    "d": (
        ("dtrace", r"^(?:\w+:\w*:\w*:\w*|BEGIN|END|provider\s+|#pragma\s+D\s+(?:option|attributes)\s)"),
        ("makefile", r"\A[^\n]*[/\\][^\n]*:\s[^\n]*\\$|\A[\w./\\-]+\.\w+\s*:\s+[\w./\\-]+\.\w+"),
    ),
    "cs": (("smalltalk", r"![\w\s]+methodsFor: "),),
    "rs": (("xml", XML), ("renderscript", r"^#pragma\s+(?:rs|version)\b")),
    "l": (
        ("common lisp", r"\(def(?:un|macro)\s"),
        ("roff", r"^\.[A-Za-z]{2}(?:\s|$)"),
        ("picolisp", r"^\((?:de|class|rel)\s"),
    ),
    "ml": (("ocaml", r"^\s*module|let rec |match\s+(?:\S+\s)+with"), ("standard ml", r"=> |case\s+(?:\S+\s)+of")),
    "sc": (("supercollider", r"(?i:\^(?:this|super)\.|^\s*~\w+\s*=\.)"),),
    "pp": (("pascal", r"^\s*end[.;]"),),
    "pro": (
        ("prolog", r"^[^\[#\n]+:-"),
        ("qmake", r"^\s*(?:HEADERS|SOURCES|TEMPLATE|TARGET)\s*\+?="),
        ("idl", r"^\s*(?i:function|pro|compile_opt) \w[ \w,:]*$"),
        ("proguard", r"^-(?:keep\b|keepclassmembers\b|keepattributes\b)"),
    ),
    "as": (("angelscript", r"^\s*(?:#include|namespace|funcdef)\b"),),
    "f": (("forth", r"^: "), ("fortran", FORTRAN)),
    "for": (("forth", r"^: "), ("fortran", FORTRAN)),
    "cl": (("common lisp", r"^\s*\((?i:defun|in-package|defpackage) "), ("opencl", r"\b__?kernel\b|/\* |// |^\}")),
    "mod": (
        ("xml", r"<!ENTITY "),
        ("nmodl", r"\b(?:NEURON|INITIAL|UNITS)\b"),
        ("modula-2", r"^\s*(?i:MODULE|END) [\w.]+;"),
        ("go module", r"\Amodule\s+\S+$"),
    ),
    "tpl": (("go template", r"\{\{-?\s*(?:/\*\s|[.$]|\w+\b)"),),
    "gs": (("glsl", r"^#version\s+[0-9]+\b"), ("javascript", r"^\s*(?:function|var|const|let)\b")),
    "php": (("hack", r"\A<\?hh"),),
    "es": (("erlang", r"^\s*(?:%%|main\s*\(.*?\)\s*->)"),),
    "yy": (("json", r"\A\s*[{\[]"),),
    "mo": (("motoko", r"^\s*(?:actor|import|module)\b.*[{\"]"),),
    "plist": (("openstep property list", r"\A\s*[({]"),),
    "msg": (
        ("tcl", r"::msgcat::|^namespace eval\b"),
        ("ros interface", r"\A(?:\s*#.*\n|\s*\n)*[A-Za-z]\w*(?:/\w+)?(?:\[\d*\])?[ \t]+\w+"),
    ),
    "rpy": (("python", r"^(?:import|from|class|def)\s"),),
}
AMBIGUOUS_EXTENSIONS = frozenset(RULES)
COMPILED = {name: [(language, re.compile(rule, re.M)) for language, rule in rules] for name, rules in RULES.items()}


def language_by_content(extension: str, text: str) -> str | None:
    """Tell the language of a text whose extension (lower case, no dot) is ambiguous; None where nothing decides."""
    beginning = text[:CHARACTERS_READ]
    return next((language for language, rule in COMPILED.get(extension, ()) if rule.search(beginning)), None)
