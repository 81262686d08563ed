"""The dialogue formats as Jinja templates, for `apply_chat_template` of transformers and for servers.

The text of a template, encoded by the exported tokenizer, gives the ids of `dialogue.py` whatever the messages say.
Where a message spells a special token, the template splits that name with GUARD, and parts it from what follows; the
exported tokenizer drops GUARD once it has looked for special tokens. A name of one character cannot be split.
"""

from __future__ import annotations

from collections.abc import Sequence

from codellama_train.tokens.dialogue import BODY_OPENING, TAGS, header_text
from codellama_train.tokens.dialogue_format import DialogueFormat

GUARD = "\ufdd0"  # a code point that Unicode keeps free for use within programs, so that no text has it
DROP_GUARD = {"type": "Replace", "pattern": {"String": GUARD}, "content": ""}  # a normalizer, as tokenizer.json has it

COMMON = """\
{%- macro said(content) -%}
{%- set words = namespace(text=content | trim) -%}
{%- for name in __SPECIAL_NAMES__ -%}
{%- set words.text = words.text | replace(name, name[0] + __GUARD__ + name[1:] + __GUARD__) -%}
{%- endfor -%}
{{ words.text }}
{%- endmacro -%}
{%- for message in messages %}{% for tag in __TAGS__ %}{% if tag in message['content'] -%}
{{ raise_exception('a message contains ' + tag + ', a tag of the chat format') }}
{%- endif %}{% endfor %}{% endfor -%}
{%- set has_system = messages and messages[0]['role'] == 'system' -%}
{%- set turns = messages[1:] if has_system else messages -%}
{%- for message in turns %}{% if message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') -%}
{{ raise_exception('after an optional system message, user and assistant take turns') }}
{%- endif %}{% endfor -%}
"""

INST = """\
{%- set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' if has_system else '' -%}
{%- for message in turns -%}
{%- if message['role'] == 'user' -%}
{{ bos_token + '[INST] ' + said((system if loop.first else '') + message['content']) + ' [/INST]' }}
{%- else -%}
{{ ' ' + said(message['content']) + ' ' + eos_token }}
{%- endif -%}
{%- endfor -%}
"""

SOURCE_DESTINATION = """\
{%- macro body(content) %}{% if content %}{{ __BODY_OPENING__ + said(content) }}{% endif %}{% endmacro -%}
{{ bos_token + __SYSTEM_HEADER__ }}
{%- if has_system %}{{ body(messages[0]['content']) }}{% endif -%}
{{ __STEP__ }}
{%- for message in turns -%}
{{ (__USER_HEADER__ if message['role'] == 'user' else __ANSWER_HEADER__) + body(message['content']) + __STEP__ }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ __ANSWER_HEADER__ + __BODY_OPENING__ }}{% endif -%}
"""


def chat_template(
    dialogue_format: DialogueFormat, *, implicit_space: str, step_name: str, special_names: Sequence[str]
) -> str:
    """Write a format's template for a tokenizer with these special tokens.

    `implicit_space` is what the tokenizer puts before every text. The reference encodes the header and the body of a
    70B message as two texts; here they are one, so the second text's implicit space is written out.
    """
    values = {
        "__GUARD__": GUARD,
        "__SPECIAL_NAMES__": list(special_names),
        "__TAGS__": list(TAGS),
        "__SYSTEM_HEADER__": header_text("system"),
        "__USER_HEADER__": header_text("user"),
        "__ANSWER_HEADER__": header_text("assistant"),
        "__BODY_OPENING__": implicit_space + BODY_OPENING,
        "__STEP__": step_name,
    }
    template = COMMON + (INST if dialogue_format == "inst" else SOURCE_DESTINATION)
    for name, value in values.items():
        template = template.replace(name, repr(value))
    return template
