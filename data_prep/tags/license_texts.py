"""What gives each licence's text away: phrases that all occur in it, in lower case with punctuation as spaces.

Names are SPDX identifiers; where a text does not say whether later versions are meant, the name does not either.
"""

from __future__ import annotations

# A phrase after "not: " must not occur. Of several licences in one text all are named.
TEXTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("AGPL-3.0", ("gnu affero general public license version 3 19 november 2007",)),
    ("GPL-3.0", ("gnu general public license version 3 29 june 2007",)),
    ("GPL-2.0", ("gnu general public license version 2 june 1991",)),
    ("GPL-1.0", ("gnu general public license version 1 february 1989",)),
    ("LGPL-3.0", ("gnu lesser general public license version 3 29 june 2007",)),
    ("LGPL-2.1", ("gnu lesser general public license version 2.1 february 1999",)),
    ("LGPL-2.0", ("gnu library general public license version 2 june 1991",)),
    ("GFDL-1.3", ("gnu free documentation license version 1.3 3 november 2008",)),
    ("GFDL-1.2", ("gnu free documentation license version 1.2 november 2002",)),
    ("MPL-2.0", ("mozilla public license version 2.0 1 definitions",)),
    ("MPL-1.1", ("mozilla public license version 1.1 1 definitions",)),
    ("EPL-2.0", ("eclipse public license v 2.0 the accompanying program",)),
    ("EPL-1.0", ("eclipse public license v 1.0 the accompanying program",)),
    ("CDDL-1.0", ("common development and distribution license cddl version 1.0",)),
    ("EUPL-1.2", ("european union public licence v 1.2 eupl",)),
    ("EUPL-1.1", ("european union public licence v 1.1 eupl",)),
    ("CECILL-2.1", ("cecill version 2.1 du 2013",)),
    ("CECILL-2.1", ("cecill free software license agreement version 2.1",)),
    ("SSPL-1.0", ("server side public license version 1 october 16 2018",)),
    ("BUSL-1.1", ("business source license 1.1 parameters",)),
    ("Elastic-2.0", ("elastic license 2.0 acceptance",)),
    ("Apache-2.0", ("apache license version 2.0 january 2004",)),
    ("Apache-1.1", ("apache software license version 1.1 copyright",)),
    ("ECL-2.0", ("educational community license version 2.0 april 2007",)),
    ("Artistic-2.0", ("the artistic license 2.0 copyright",)),
    ("Artistic-1.0", ("the artistic license preamble the intent of this document",)),
    ("BSL-1.0", ("boost software license version 1.0",)),
    ("CC0-1.0", ("cc0 1.0 universal", "affirmer")),
    (
        "CC-BY-4.0",
        ("attribution 4.0 international", "not: sharealike", "not: noncommercial 4.0", "not: noderivatives 4.0"),
    ),
    ("CC-BY-SA-4.0", ("attribution sharealike 4.0 international",)),
    ("CC-BY-NC-4.0", ("attribution noncommercial 4.0 international",)),
    ("CC-BY-NC-SA-4.0", ("attribution noncommercial sharealike 4.0 international",)),
    ("ODbL-1.0", ("open database license odbl v 1.0",)),
    ("ODbL-1.0", ("odc open database license odbl",)),
    ("OFL-1.1", ("sil open font license version 1.1 26 february 2007",)),
    ("CERN-OHL-P-2.0", ("cern open hardware licence version 2 permissive",)),
    ("CERN-OHL-S-2.0", ("cern open hardware licence version 2 strongly reciprocal",)),
    ("CERN-OHL-W-2.0", ("cern open hardware licence version 2 weakly reciprocal",)),
    ("AFL-3.0", ("academic free license afl v 3.0",)),
    ("OSL-3.0", ("open software license osl v 3.0",)),
    ("LPPL-1.3c", ("latex project public license lppl version 1.3c",)),
    ("MS-PL", ("microsoft public license ms pl this license",)),
    ("MS-RL", ("microsoft reciprocal license ms rl this license",)),
    ("MulanPSL-2.0", ("mulan psl v2", "as is basis")),
    ("UPL-1.0", ("universal permissive license upl version 1.0 subject",)),
    ("BlueOak-1.0.0", ("blue oak model license version 1.0.0",)),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    ("WTFPL", ("do what the fuck you want to public license",)),
    ("Vim", ("vim license", "unmodified copies of")),
    ("Python-2.0", ("beopen.com license agreement for python 2.0",)),
    ("PSF-2.0", ("python software foundation license version 2", "not: beopen.com license agreement")),
    (
        "Zlib",
        ("the origin of this software must not be misrepresented", "altered source versions must be plainly marked"),
    ),
    ("Ruby", ("ruby is copyrighted free software by yukihiro matsumoto",)),
    ("OpenSSL", ("openssl license", "openssl toolkit", "redistributions of any form whatsoever")),
    ("Unicode-3.0", ("unicode license v3 copyright and permission notice",)),
    ("NCSA", ("to deal with the software without restriction", "illinois open source license")),
    ("NCSA", ("to deal with the software without restriction", "ncsa open source license")),
    ("JSON", ("the software shall be used for good not evil",)),
    ("MIT-0", ("permission is hereby granted free of charge", "furnished to do so the software is provided")),
    ("X11", ("permission is hereby granted free of charge", "except as contained in this notice the name")),
    (
        "MIT",
        (
            "permission is hereby granted free of charge to any person obtaining a copy of this software",
            "not: furnished to do so the software is provided",
            "not: except as contained in this notice the name",
            "not: deal with the software without restriction",
            "not: used for good not evil",
            "not: unicode license v3",
        ),
    ),
    ("BSD-4-Clause", ("redistributions in binary form must reproduce", "all advertising materials mentioning")),
    (
        "BSD-3-Clause-Clear",
        ("redistributions in binary form must reproduce", "subject to the limitations in the disclaimer below"),
    ),
    (
        "BSD-2-Clause-Patent",
        ("redistributions in binary form must reproduce", "patent license", "each copyright holder and contributor"),
    ),
    (
        "BSD-3-Clause",
        (
            "redistributions in binary form must reproduce",
            "endorse or promote products",
            "not: all advertising materials",
            "not: subject to the limitations in the disclaimer below",
            "not: redistributions of any form whatsoever",
            "not: to deal with the software without restriction",
        ),
    ),
    (
        "BSD-2-Clause",
        (
            "redistributions in binary form must reproduce",
            "not: endorse or promote products",
            "not: all advertising materials",
            "not: each copyright holder and contributor",
            "not: neither the name",
        ),
    ),
    ("PostgreSQL", ("without fee and without a written agreement is hereby granted",)),
    (
        "HPND",
        ("distribute this software and its documentation for any purpose and without fee is hereby granted",),
    ),
    (
        "0BSD",
        ("distribute this software for any purpose with or without fee is hereby granted the software is provided",),
    ),
    (
        "ISC",
        ("distribute this software for any purpose with or without fee is hereby granted provided that the above",),
    ),
)

# What a file says that does not hold the licence itself, in the words the licences recommend.
NOTICES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("AGPL-3.0-or-later", ("gnu affero general public license as published", "version 3", "any later version")),
    ("LGPL-3.0-or-later", ("gnu lesser general public license as published", "either version 3", "any later version")),
    ("LGPL-2.1-or-later", ("gnu lesser general public license as published", "version 2.1", "any later version")),
    ("LGPL-2.0-or-later", ("gnu library general public license as published", "version 2", "any later version")),
    ("GPL-3.0-or-later", ("gnu general public license as published", "either version 3", "any later version")),
    ("GPL-2.0-or-later", ("gnu general public license as published", "either version 2", "any later version")),
    ("GPL-2.0-only", ("gnu general public license version 2 as published", "not: any later version")),
    ("MPL-2.0", ("subject to the terms of the mozilla public license v 2.0",)),
    ("EPL-2.0", ("under the terms of the eclipse public license 2.0",)),
    ("Apache-2.0", ("licensed under the apache license version 2.0",)),
    ("Apache-2.0", ("licensed to the apache software foundation asf under one",)),
)

# Terms added to a licence that take back what it gives: such a text is none of the above.
RESTRICTIONS = ("commons clause license condition",)
# What begins the part of a licence file that is about other people's code.
BUNDLED = (
    *("also bundles", "bundles several", "bundled with", "includes code from", "binary distribution of"),
    *("third party software", "third party components", "third party libraries", "third party licenses"),
    *("the following components", "subcomponents", "source code from other projects"),
)

# Either licence may be chosen, not both obeyed.
CHOICE = (
    "dual licensed",
    "dual license",
    "licensed under either",
    "either of the licenses",
    "under the terms of either",
)

# How people write a licence in a package's metadata, without the words "the", "license", "licence" and "software".
SHORT_NAMES: dict[str, str] = {
    **dict.fromkeys(("mit", "expat", "mit expat", "x11 mit"), "MIT"),
    **dict.fromkeys(
        ("apache", "apache 2", "apache 2.0", "apache version 2.0", "apache v2", "apache v2.0", "apache2", "asl 2.0"),
        "Apache-2.0",
    ),
    **dict.fromkeys(
        ("bsd", "new bsd", "modified bsd", "3 clause bsd", "bsd 3 clause", "bsd 3", "bsd3", "revised bsd"),
        "BSD-3-Clause",
    ),
    **dict.fromkeys(("2 clause bsd", "bsd 2 clause", "simplified bsd", "freebsd"), "BSD-2-Clause"),
    **dict.fromkeys(("psf", "python foundation", "psfl", "python"), "PSF-2.0"),
    **dict.fromkeys(("isc", "iscl", "isc iscl"), "ISC"),
    **dict.fromkeys(
        ("mpl 2.0", "mozilla public 2.0", "mozilla public 2.0 mpl 2.0", "mpl2", "mozilla public version 2.0"), "MPL-2.0"
    ),
    **dict.fromkeys(("unlicense", "unlicense unlicense"), "Unlicense"),
    **dict.fromkeys(("zlib", "zlib libpng"), "Zlib"),
    **dict.fromkeys(
        ("cc0", "cc0 1.0 universal cc0 1.0 public domain dedication", "cc0 1.0 universal", "cc0 1.0"), "CC0-1.0"
    ),
    **dict.fromkeys(("boost 1.0 bsl 1.0", "boost 1.0", "boost", "bsl 1.0"), "BSL-1.0"),
    **dict.fromkeys(("gpl 3", "gplv3", "gpl v3", "gpl 3.0", "gnu gpl v3", "gnu general public v3 gplv3"), "GPL-3.0"),
    **dict.fromkeys(
        ("gplv3+", "gnu general public v3 or later gplv3+", "gpl 3+", "gplv3 or later"), "GPL-3.0-or-later"
    ),
    **dict.fromkeys(("gplv2", "gpl v2", "gpl 2", "gpl 2.0", "gnu gpl v2", "gnu general public v2 gplv2"), "GPL-2.0"),
    **dict.fromkeys(("gplv2+", "gnu general public v2 or later gplv2+", "gpl 2+"), "GPL-2.0-or-later"),
    **dict.fromkeys(("lgpl 2.1", "lgplv2.1", "lgpl v2.1"), "LGPL-2.1"),
    **dict.fromkeys(("lgplv2.1+", "gnu lesser general public v2 or later lgplv2+", "lgplv2+"), "LGPL-2.1-or-later"),
    **dict.fromkeys(("lgplv3", "lgpl 3", "lgpl 3.0", "gnu lesser general public v3 lgplv3"), "LGPL-3.0"),
    **dict.fromkeys(("lgplv3+", "gnu lesser general public v3 or later lgplv3+"), "LGPL-3.0-or-later"),
    **dict.fromkeys(("agplv3", "agpl 3.0", "gnu affero general public v3"), "AGPL-3.0"),
    **dict.fromkeys(("agplv3+", "gnu affero general public v3 or later agplv3+"), "AGPL-3.0-or-later"),
    **dict.fromkeys(("epl 2.0", "eclipse public 2.0 epl 2.0"), "EPL-2.0"),
    **dict.fromkeys(("wtfpl",), "WTFPL"),
    **dict.fromkeys(("hpnd", "historical permission notice and disclaimer hpnd"), "HPND"),
}
