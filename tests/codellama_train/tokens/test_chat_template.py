"""`apply_chat_template` of a reloaded export, called plainly, against the ids of dialogues."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from byte_level_worlds import STYLES, write_byte_level
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from codellama_train.tokens.chat_template import GUARD
from codellama_train.tokens.dialogue import TAGS, Message, dialogue_prompt, encode_dialogue
from codellama_train.tokens.dialogue_format import DialogueFormat, format_of_folder
from codellama_train.tokens.hugging_face import check_fast_tokenizer, write_fast_tokenizer
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.tokenizer import Tokenizer

Chat = list[dict[str, str]]

FORMATS: tuple[DialogueFormat, ...] = ("inst", "source_destination")
AWKWARD = ["", " ", "\n", "</s>", "<s>x</s>", "<unk>", "a ▁<PRE>b", "<s", "s>", "<step", "  x  \n", "é漢🙂", "def f():"]

words = st.lists(st.sampled_from(AWKWARD) | st.text(st.characters(exclude_categories=("Cs",)), max_size=12), max_size=4)
contents = words.map("".join).filter(lambda text: not any(tag in text for tag in (*TAGS, GUARD)))


def chat_of(messages: list[Message]) -> Chat:
    return [{"role": message.role, "content": message.content} for message in messages]


def ids_of(reloaded: PreTrainedTokenizerBase, messages: list[Message], *, add_generation_prompt: bool) -> list[int]:
    ids: list[int] = reloaded.apply_chat_template(
        chat_of(messages), add_generation_prompt=add_generation_prompt, return_dict=False
    )
    return ids


def export(tokenizer: Tokenizer, folder: Path, dialogue_format: DialogueFormat) -> PreTrainedTokenizerBase:
    """Write a tokenizer as the export of an instruct model does, and reload it."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    tokenizer.save(folder)
    write_fast_tokenizer(tokenizer, folder, dialogue_format=dialogue_format)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def exports(tokenizer: SentencePieceTokenizer, folder: Path) -> dict[DialogueFormat, PreTrainedTokenizerBase]:
    """The small tokenizer, exported in each format."""
    return {
        dialogue_format: export(tokenizer, folder / dialogue_format, dialogue_format) for dialogue_format in FORMATS
    }


@pytest.fixture(scope="module")
def real_exports(
    real_tokenizer: SentencePieceTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, dict[DialogueFormat, PreTrainedTokenizerBase]]:
    """A published tokenizer, and its exports in each format."""
    folder = tmp_path_factory.mktemp("real")
    return real_tokenizer, {name: export(real_tokenizer, folder / name, name) for name in FORMATS}


@pytest.fixture(params=FORMATS)
def dialogue_format(request: pytest.FixtureRequest) -> DialogueFormat:
    chosen: DialogueFormat = request.param
    return chosen


@pytest.fixture
def small(
    exports: dict[DialogueFormat, PreTrainedTokenizerBase], dialogue_format: DialogueFormat
) -> PreTrainedTokenizerBase:
    return exports[dialogue_format]


def require_dialogue_ids(
    tokenizer: Tokenizer, reloaded: PreTrainedTokenizerBase, messages: list[Message], dialogue_format: DialogueFormat
) -> None:
    """Demand the ids of the prompt that `messages` end in, and of what is learned where text can give them."""
    prompt = dialogue_prompt(tokenizer, messages, dialogue_format)
    assert ids_of(reloaded, messages, add_generation_prompt=True) == prompt
    complete = [*messages, Message("assistant", " return <s>\n")]
    learned, _ = encode_dialogue(tokenizer, complete, dialogue_format)
    told = ids_of(reloaded, complete, add_generation_prompt=False)
    if dialogue_format == "inst":
        assert told == learned
        assert ids_of(reloaded, messages, add_generation_prompt=False) == prompt, "[/INST] stands there anyway"
        return
    # A complete dialogue is told as what comes before the next reply: the last answer is one text with its opening.
    more = dialogue_prompt(tokenizer, [*complete, Message("user", "x")], dialogue_format)
    assert told == more[: len(told)]
    assert told[-1] == learned[-1] == tokenizer.step_id
    assert tokenizer.decode(told) == tokenizer.decode(learned)
    before = ids_of(reloaded, messages, add_generation_prompt=False)
    assert prompt[: len(before)] == before
    assert before[-1] == tokenizer.step_id


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.lists(contents, min_size=1, max_size=5).filter(lambda said: len(said) % 2 == 1), system=st.none() | contents
)
def test_any_dialogue_gives_the_ids_it_is_trained_on(
    tokenizer: SentencePieceTokenizer,
    small: PreTrainedTokenizerBase,
    dialogue_format: DialogueFormat,
    said: list[str],
    system: str | None,
):
    messages = [Message("user" if index % 2 == 0 else "assistant", text) for index, text in enumerate(said)]
    messages = messages if system is None else [Message("system", system), *messages]
    require_dialogue_ids(tokenizer, small, messages, dialogue_format)


TURNS = [
    *(Message("user", "  Hi </s> ▁<PRE> \n"), Message("assistant", " Hello\n there <unk> <|endoftext|>")),
    *(Message("user", "Sort a list"), Message("assistant", "def f(x):\n    return x"), Message("user", "<s>")),
]


@pytest.mark.parametrize("system", [[], [Message("system", " Be brief.\n")], [Message("system", "")]])
def test_published_vocabularies_give_the_ids_of_dialogues(
    real_exports: tuple[Tokenizer, dict[DialogueFormat, PreTrainedTokenizerBase]],
    dialogue_format: DialogueFormat,
    system: list[Message],
):
    tokenizer, reloaded = real_exports
    for count in (1, 3, 5):
        require_dialogue_ids(tokenizer, reloaded[dialogue_format], [*system, *TURNS[:count]], dialogue_format)


@pytest.mark.parametrize("style", STYLES)
def test_byte_level_vocabularies_give_the_ids_of_dialogues(tmp_path: Path, style: str, dialogue_format: DialogueFormat):
    tokenizer = open_tokenizer(write_byte_level(tmp_path / "base", style))
    reloaded = export(tokenizer, tmp_path / "export", dialogue_format)
    assert open_tokenizer(tmp_path / "export").fingerprint == tokenizer.fingerprint
    for system in ([], [Message("system", " Be brief.\n")]):
        for count in (1, 3, 5):
            require_dialogue_ids(tokenizer, reloaded, [*system, *TURNS[:count]], dialogue_format)


def test_the_folder_says_its_format_and_opens_as_the_same_tokenizer(
    tokenizer: SentencePieceTokenizer,
    exports: dict[DialogueFormat, PreTrainedTokenizerBase],
    folder: Path,
    dialogue_format: DialogueFormat,
):
    assert exports.keys() == set(FORMATS)
    assert format_of_folder(folder / dialogue_format) == dialogue_format
    assert open_tokenizer(folder / dialogue_format).fingerprint == tokenizer.fingerprint


@pytest.mark.usefixtures("exports")
def test_a_fresh_process_finds_a_right_and_a_wrong_template(
    tokenizer: SentencePieceTokenizer, folder: Path, tmp_path: Path
):
    check_fast_tokenizer(tokenizer, folder / "source_destination")
    shutil.copytree(folder / "inst", tmp_path / "spoilt")
    path = tmp_path / "spoilt" / "tokenizer_config.json"
    path.write_text(path.read_text().replace("' [/INST]'", "'[/INST]'"))
    with pytest.raises(RuntimeError, match="differs from the trained one in the ids of a chat"):
        check_fast_tokenizer(tokenizer, tmp_path / "spoilt")


def test_the_step_token_is_known_by_name(
    tokenizer: SentencePieceTokenizer, small: PreTrainedTokenizerBase, dialogue_format: DialogueFormat
):
    is_known = dialogue_format == "source_destination"
    assert (small.convert_tokens_to_ids("<step>") == tokenizer.step_id) == is_known
    assert small.decode([tokenizer.step_id], skip_special_tokens=True) == ""
    rendered = small.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    expected = "<s> Source: system<step> Source: user \n\n Hi<step>" if is_known else "<s>[INST] Hi [/INST]"
    assert rendered == expected


def test_plain_text_spells_special_tokens_unless_told_otherwise(
    tokenizer: SentencePieceTokenizer, small: PreTrainedTokenizerBase
):
    assert small("a</s>", add_special_tokens=False)["input_ids"] == [*tokenizer.encode("a"), tokenizer.eos_id]
    split = small("a</s>", add_special_tokens=False, split_special_tokens=True)
    assert split["input_ids"] == tokenizer.encode("a</s>")


@pytest.mark.parametrize(
    ("roles", "content", "problem"),
    [
        (["assistant"], "x", "take turns"),
        (["user", "user"], "x", "take turns"),
        (["system", "assistant"], "x", "take turns"),
        *((["user"], f"a {tag} b", "a tag of the chat format") for tag in TAGS),
        (["system", "user"], "[INST]", "a tag of the chat format"),
    ],
)
def test_what_is_no_dialogue_is_refused(small: PreTrainedTokenizerBase, roles: list[str], content: str, problem: str):
    with pytest.raises(Exception, match=problem):
        small.apply_chat_template([{"role": role, "content": content} for role in roles], tokenize=False)
