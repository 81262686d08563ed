"""Licences: real texts and metadata named as they say, expressions judged by logic, rules refused in words."""

from __future__ import annotations

import sysconfig
from email.parser import HeaderParser
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.licenses import canonicalize_license_expression

from codellama_train.recipe.data_rules import LicenseRule
from data_prep.tags.license_rules import NOT_ALLOWED, NOT_KNOWN, PERMISSIVE_LICENSES, license_reason
from data_prep.tags.license_texts import NOTICES, SHORT_NAMES, TEXTS
from data_prep.tags.licenses import license_in_file, license_of_folder, license_of_name, license_of_text

MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software"
APACHE = "                                 Apache License\n                           Version 2.0, January 2004"
GPL = "                GNU GENERAL PUBLIC LICENSE\n                 Version 3, 29 June 2007"
LGPL = "                GNU LESSER GENERAL PUBLIC LICENSE\n                 Version 3, 29 June 2007"
GPL_NOTICE = """
 * This program is free software; you can redistribute it and/or modify it under the terms of the
 * GNU General Public License as published by the Free Software Foundation; either version 2 of the
 * License, or (at your option) any later version.
"""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (MIT, "MIT"),
        (GPL, "GPL-3.0"),
        (APACHE, "Apache-2.0"),
        (GPL_NOTICE, "GPL-2.0-or-later"),
        ("# Licensed under the Apache License, Version 2.0 (the\n# 'License');", "Apache-2.0"),
        (f"{APACHE}\n\n{MIT}", "Apache-2.0 AND MIT"),
        (f"Dual licensed.\n{APACHE}\n\n{MIT}", "Apache-2.0 OR MIT"),
        (f"{MIT}\n“Commons Clause” License Condition v1.0", None),
        ("All rights reserved.", None),
    ],
)
def test_licence_texts(text, name):
    assert license_of_text(text) == name


DEBIAN = {"GPL-1": "GPL-1.0", "GPL-2": "GPL-2.0", "GPL-3": "GPL-3.0", "LGPL-2": "LGPL-2.0", "LGPL-2.1": "LGPL-2.1"}
DEBIAN |= {"LGPL-3": "LGPL-3.0", "Apache-2.0": "Apache-2.0", "MPL-1.1": "MPL-1.1", "MPL-2.0": "MPL-2.0"}
DEBIAN |= {"CC0-1.0": "CC0-1.0", "GFDL-1.2": "GFDL-1.2", "GFDL-1.3": "GFDL-1.3", "Artistic": "Artistic-1.0"}
DEBIAN |= {"BSD": "BSD-3-Clause"}


@pytest.mark.parametrize("file_name", DEBIAN)
def test_the_licences_that_debian_ships(file_name):
    path = Path("/usr/share/common-licenses", file_name)
    if not path.is_file():
        pytest.skip(f"this system has no {path}")
    assert license_of_text(path.read_text(errors="replace")) == DEBIAN[file_name]


def test_licence_files_of_installed_packages_say_what_their_metadata_says():
    agreeing = differing = 0
    for metadata in Path(sysconfig.get_path("purelib")).glob("*.dist-info/METADATA"):
        expression = HeaderParser().parsestr(metadata.read_text(errors="replace"))["License-Expression"]
        found = license_of_folder(metadata.parent / "licenses")
        if expression and found and "AND" not in found:  # licences of bundled code are in many files
            agreeing += found == license_of_name(expression)
            differing += found != license_of_name(expression)
    assert agreeing >= 10
    assert differing <= 0.1 * agreeing


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("MIT", "MIT"),
        ("mit license", "MIT"),
        ("Apache 2.0", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("Apache Software License", "Apache-2.0"),
        ("3-Clause BSD License", "BSD-3-Clause"),
        ("Python Software Foundation License", "PSF-2.0"),
        ("GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
        ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        ("MIT/Apache-2.0", "MIT OR Apache-2.0"),
        ("apache-2.0 with llvm-exception", "Apache-2.0 WITH LLVM-exception"),
        (MIT, "MIT"),
        ("UNKNOWN", None),
        ("Proprietary", None),
        ("Dual License", None),
    ],
)
def test_names_in_metadata_become_expressions(name, expression):
    assert license_of_name(name) == expression


def test_every_name_given_is_an_spdx_identifier():
    names = {name for name, _ in (*TEXTS, *NOTICES)} | set(SHORT_NAMES.values())
    assert {str(canonicalize_license_expression(name)) for name in names} == names
    # The list is older than the SPDX list, which has since dropped a few names.
    assert {"MIT", "Apache-2.0", "BSD-3-Clause", "ISC", "Unlicense", "CC0-1.0"} <= PERMISSIVE_LICENSES
    assert not {"GPL-2.0", "GPL-3.0", "LGPL-2.1", "MPL-2.0", "EPL-2.0", "AGPL-3.0", "CC-BY-4.0"} & PERMISSIVE_LICENSES


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("// SPDX-License-Identifier: Apache-2.0\n", "Apache-2.0"),
        ("/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */\nint x;", "(GPL-2.0-only OR MIT)"),
        ("<!-- SPDX-License-Identifier: mit -->", "MIT"),
        ("# SPDX-License-Identifier: whatever\n", None),
        ("x = 1\n" * 2_000 + "# SPDX-License-Identifier: MIT\n", None),
    ],
)
def test_a_file_may_name_its_own_licence(text, expression):
    assert license_in_file(text) == expression


@pytest.mark.parametrize(
    ("files", "expression"),
    [
        ({"LICENSE": MIT}, "MIT"),
        ({"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE}, "MIT OR Apache-2.0"),
        ({"LICENSE": "either of the files", "LICENSE.MIT": MIT, "LICENSE.APACHE2": APACHE}, "Apache-2.0 OR MIT"),
        ({"COPYING": GPL, "COPYING.LESSER": LGPL}, "LGPL-3.0"),
        ({"LICENSE.txt": MIT, "COPYING.md": GPL}, "GPL-3.0 AND MIT"),
        ({"LICENSE": MIT, "LICENSE-THIRD-PARTY": GPL}, "MIT"),
        ({"license.py": GPL}, None),
        ({"README": MIT}, None),
    ],
)
def test_the_licence_files_of_a_repository(files, expression, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = license_of_folder(tmp_path)
    assert found == expression or (found and expression and set(found.split()) == set(expression.split()))


@pytest.mark.parametrize(
    ("expression", "allowed", "reason"),
    [
        ("MIT", ["permissive"], None),
        ("GPL-3.0-only", ["permissive"], NOT_ALLOWED),
        ("MIT OR GPL-3.0-only", ["permissive"], None),
        ("MIT AND GPL-3.0-only", ["permissive"], NOT_ALLOWED),
        ("GPL-3.0-or-later", ["GPL-3.0-only"], None),
        ("Apache-2.0 WITH LLVM-exception", ["Apache-2.0"], None),
        ("MPL-2.0 AND MIT", ["permissive", "MPL-2.0"], None),
        (None, ["permissive"], NOT_KNOWN),
        (None, ["permissive", "unknown"], None),
        ("our own", ["permissive"], NOT_KNOWN),
    ],
)
def test_licences_are_allowed_or_not(expression, allowed, reason):
    assert license_reason(expression, allowed) == reason


NAMES = ["MIT", "Apache-2.0", "GPL-2.0-only", "MPL-2.0"]
EXPRESSIONS = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.tuples(inner, st.sampled_from(["OR", "AND"]), inner).map(lambda each: f"({' '.join(each)})"),
    max_leaves=6,
)


@given(EXPRESSIONS, st.sets(st.sampled_from(NAMES), min_size=1))
def test_an_expression_is_judged_as_the_logic_of_its_words(expression, allowed):
    logic = expression.replace("OR", "or").replace("AND", "and")
    for name in sorted(NAMES, key=len, reverse=True):
        logic = logic.replace(name, str(name in allowed))
    assert (license_reason(expression, allowed) is None) == eval(logic)  # noqa: S307 - of True, False, and, or
    assert license_reason(expression.strip("()") if "(" not in expression[1:-1] else expression, allowed) == (
        license_reason(expression, allowed)
    )


def test_and_binds_closer_than_or():
    for first, second in product(NAMES, NAMES):
        flat = f"{first} OR {second} AND GPL-2.0-only"
        for allowed in (["MIT"], ["GPL-2.0-only"], ["Apache-2.0", "GPL-2.0-only"]):
            assert license_reason(flat, allowed) == license_reason(f"{first} OR ({second} AND GPL-2.0-only)", allowed)


@pytest.mark.parametrize("name", ["MTI", "MIT OR Apache-2.0", ""])
def test_a_rule_names_licences_one_by_one(name):
    with pytest.raises(ValueError, match=r"SPDX|one by one"):
        LicenseRule(allowed=[name])
