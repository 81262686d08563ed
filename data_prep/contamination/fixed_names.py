"""Names that stay when code is copied under other names: keywords, and built-in functions where they are called.

Only what nobody takes for a variable in another language is listed (`begin`, `char`, `end`, `string`, `switch` and
`type` are not): a name left out costs a little certainty, one too many hides a copy that uses it for something else.
"""

from __future__ import annotations

_KEYWORDS = """
and as assert async await bool break class const continue def del elif else elseif elsif enum except extends False
false finally float for foreach from function if implements import in instanceof int interface is isset lambda let
namespace new nil None nonlocal not null nullptr or pass private protected public raise require rescue return Self
self sizeof static struct template this throw throws True true try typedef typename typeof undefined unless unsigned
using virtual void volatile while with yield
"""

_CALLED = """
abs add all any append Array assert assertEqual begin bin bool ceil charAt charCodeAt chr clear concat contains
containsKey copy cos count Counter defaultdict dict emplace_back end endsWith endswith entries enumerate Error every
Exception exp explode extend filter find findall float floor forEach format fromCharCode get getOrDefault hash hex
implode in_array includes index indexOf input insert int intval isalpha isdigit isEmpty islower isNaN isspace issubset
isupper items iter join keys len length List list lower lstrip make map match max min next oct ord parseFloat parseInt
pop pop_back pow preg_match print printf println push push_back put range reduce remove repeat replace reverse
reversed round rstrip search Set set setdefault shift size slice sort sorted splice split sqrt startsWith startswith
str str_split strip strlen strrev strtolower strtoupper sub substr substring sum super swap tan test toCharArray
toFixed tolower toLowerCase toString toupper toUpperCase trim trunc tuple type unshift update upper ValueError valueOf
values write zip
"""

KEYWORDS = frozenset(_KEYWORDS.split())
BUILT_IN = frozenset(_CALLED.split())  # they stay in front of an opening parenthesis
