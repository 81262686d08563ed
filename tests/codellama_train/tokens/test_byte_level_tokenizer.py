from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from byte_level_worlds import (
    DEEPSEEK_HOLE,
    DEEPSEEK_MIDDLE,
    DEEPSEEK_PREFIX,
    LOST_CHARACTERS,
    STYLES,
    Change,
    add_tokens,
    edit,
    oracle,
    write_byte_level,
    write_json,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codellama_train.console import UserError
from codellama_train.tokens.byte_level_tokenizer import ByteLevelTokenizer

relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FRAGMENTS = (
    *("<|endoftext|>", "<|begin_of_text|>", "<tool_call>", DEEPSEEK_HOLE, "<PRE>", "<EOT>", "<step>", "▁<SUF>"),
    *(
        "control 3",
        "<|",
        "|>",
        "<",
        " zebra",
        "zebra",
        "  ",
        "    ",
        "\n",
        "\r\n",
        "\t",
        "def ",
        "1234",
        "don't",
        "õ",
        "ü",
    ),
    *("é", "e\u0301", "漢字", "한국어", "🙂", "\u200d", "\ufeff", "\0", "\u2028"),
)
texts = st.lists(
    st.sampled_from(FRAGMENTS) | st.text(st.characters(exclude_categories=("Cs",)), max_size=8), max_size=12
).map("".join)


def is_lost(character: str) -> bool:
    """Tell whether SmolLM2 has no piece for some byte of a character."""
    return character in LOST_CHARACTERS or character.encode()[0] in (0xF1, 0xF2)


class World:
    """A tokenizer of ours, and the library's of the same file."""

    def __init__(self, folder: Path, style: str) -> None:
        self.style, self.folder = style, folder
        self.ours, self.library = ByteLevelTokenizer(folder / "tokenizer.json"), oracle(folder)
        self.stored = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        self.added = {token["content"]: token["id"] for token in self.stored["added_tokens"]}
        self.size = self.library.get_vocab_size()

    @property
    def controls(self) -> set[int]:
        sentinels = self.ours.sentinels
        own = {sentinels.prefix, sentinels.suffix, sentinels.middle, sentinels.end, self.ours.step_id}
        return {*own, *self.added.values(), self.ours.bos_id, self.ours.eos_id}


@pytest.fixture(scope="module", params=STYLES)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(write_byte_level(tmp_path_factory.mktemp(request.param), request.param), request.param)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_byte_level(tmp_path_factory.mktemp("gpt2"), "gpt2")


@pytest.fixture
def folder(gpt2: Path, tmp_path: Path) -> Path:
    """A folder of its own for each test to change."""
    return shutil.copytree(gpt2, tmp_path / "folder")


def opened(folder: Path) -> ByteLevelTokenizer:
    return ByteLevelTokenizer(folder / "tokenizer.json")


@relaxed
@given(text=texts)
def test_ids_are_the_librarys_and_text_comes_back(world: World, text: str):
    if world.style == "smollm":
        text = "".join(character for character in text if not is_lost(character))
    ids = world.ours.encode(text)
    assert ids == world.library.encode(text, add_special_tokens=False).ids
    assert ids == world.ours.encode_infilling(text)
    assert not world.controls & set(ids)
    assert world.ours.decode(ids) == world.ours.decode_infilling(ids) == text
    assert len(text) <= world.ours.longest_piece * len(ids)


@relaxed
@given(data=st.data())
def test_any_ids_decode_as_the_library_does(world: World, data: st.DataObject):
    ids = data.draw(st.lists(st.integers(0, world.ours.vocabulary_size - 1), max_size=20))
    ordinary = [token for token in ids if token < world.size and token not in world.controls]
    assert world.ours.decode(ids) == world.library.decode(ordinary)


@relaxed
@given(text=texts, cuts=st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_a_stored_document_is_cut_as_its_text(world: World, text: str, cuts: tuple[int, int]):
    if world.style == "smollm":
        text = "".join(character for character in text if not is_lost(character))
    first, second = sorted(cuts)
    document = world.ours.document(np.asarray(world.ours.encode(text), dtype=np.uint32))
    assert document.num_characters == len(text)
    assert document.encode_up_to(first).tolist() == world.library.encode(text[:first], add_special_tokens=False).ids
    between = world.library.encode(text[first:second], add_special_tokens=False).ids
    assert document.encode_between(first, second).tolist() == between


@pytest.mark.parametrize("character", [*LOST_CHARACTERS, "\U00040000"])
def test_a_character_that_smollm_has_no_piece_for_is_not_given_back(tmp_path: Path, character: str):
    tokenizer = opened(write_byte_level(tmp_path, "smollm"))
    assert tokenizer.decode(tokenizer.encode(f"a{character}b")) != f"a{character}b"


def test_what_a_base_lacks_comes_after_its_highest_id(world: World):
    ours, size = world.ours, world.size
    sentinels = ours.sentinels
    if world.style == "deepseek":
        ids = [world.added[name] for name in (DEEPSEEK_PREFIX, DEEPSEEK_HOLE, DEEPSEEK_MIDDLE)]
        assert [sentinels.prefix, sentinels.suffix, sentinels.middle, sentinels.end, ours.step_id] == [
            *ids,
            size,
            size + 1,
        ]
    else:
        assert (sentinels.prefix, sentinels.suffix, sentinels.middle, sentinels.end) == tuple(range(size, size + 4))
        assert [ours.piece(token) for token in range(size, size + 5)] == ["<PRE>", "<SUF>", "<MID>", "<EOT>", "<step>"]
        assert ours.step_id == size + 4
    assert [ours.piece(token) for token in range(size)] == [world.library.id_to_token(token) for token in range(size)]
    assert ours.vocabulary_size % 16 == 0
    assert ours.step_id < ours.vocabulary_size <= ours.step_id + 16
    assert {ours.piece(token) for token in range(ours.step_id + 1, ours.vocabulary_size)} <= {None}


@pytest.mark.parametrize(
    "names",
    [
        ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
        ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
        ("▁<PRE>", "▁<SUF>", "▁<MID>"),
        ("<PRE>", "<SUF>", "<MID>"),
    ],
)
@pytest.mark.parametrize("special", [True, False])
def test_sentinels_that_a_base_has_keep_their_ids(folder: Path, names: tuple[str, ...], special: bool):
    edit(folder, lambda stored: add_tokens(stored, [*reversed(names), "<EOT>"], special=special))
    tokenizer = opened(folder)
    size = 501
    sentinels = tokenizer.sentinels
    assert (sentinels.middle, sentinels.suffix, sentinels.prefix, sentinels.end) == tuple(range(size, size + 4))
    assert tokenizer.step_id == size + 4


def test_a_base_with_some_of_the_infilling_tokens_gets_the_others(folder: Path):
    tokenizer = opened(edit(folder, lambda stored: add_tokens(stored, ["<step>", "<MID>", "<fim_prefix>"])))
    sentinels = tokenizer.sentinels
    assert (tokenizer.step_id, sentinels.middle) == (501, 502)
    assert (sentinels.prefix, sentinels.suffix, sentinels.end) == (504, 505, 506)
    assert [tokenizer.piece(token) for token in (504, 505, 506, 507)] == ["<PRE>", "<SUF>", "<EOT>", None]


def test_a_name_that_no_text_can_spell_is_a_control_unlisted(folder: Path):
    def change(stored):
        stored["model"]["vocab"]["▁<EOT>"] = len(stored["model"]["vocab"])

    tokenizer = opened(edit(folder, change))
    assert tokenizer.sentinels.end == 501
    assert tokenizer.decode([501]) == ""
    assert 501 not in tokenizer.encode("▁<EOT>")


def test_the_fingerprint_outlives_the_extension(world: World, tmp_path: Path):
    world.ours.save(tmp_path / "once")
    again = opened(tmp_path / "once")
    again.save(tmp_path / "twice")
    for other in (again, opened(tmp_path / "twice")):
        assert other.fingerprint == world.ours.fingerprint
        assert other.sentinels == world.ours.sentinels
        assert (other.bos_id, other.eos_id, other.step_id) == (world.ours.bos_id, world.ours.eos_id, world.ours.step_id)
        assert other.vocabulary_size == world.ours.vocabulary_size
        assert other.encode("def f(<PRE>):") == world.ours.encode("def f(<PRE>):")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


def swap_merges(stored):
    merges = stored["model"]["merges"]
    merges[0], merges[1] = merges[1], merges[0]


def swap_pieces(stored):
    vocabulary = stored["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]


@pytest.mark.parametrize(
    "change",
    [
        swap_merges,
        swap_pieces,
        lambda stored: stored["model"].update(ignore_merges=True),
        lambda stored: add_tokens(stored, ["<new>"]),
        lambda stored: stored["pre_tokenizer"]["pretokenizers"][0].update(use_regex=False),
    ],
)
def test_whatever_decides_ids_changes_the_fingerprint(folder: Path, change: Change):
    before = opened(folder).fingerprint
    assert opened(edit(folder, change)).fingerprint != before


def test_another_mark_of_documents_changes_the_fingerprint(folder: Path):
    edit(folder, lambda stored: add_tokens(stored, ["<other>"]))
    before = opened(folder).fingerprint
    write_json(folder / "tokenizer_config.json", {"bos_token": "<other>", "eos_token": "<|endoftext|>"})
    assert opened(folder).fingerprint != before


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored["model"].update(merges=[merge.split(" ") for merge in stored["model"]["merges"]]),
        lambda stored: stored.update(pre_tokenizer=stored["pre_tokenizer"]["pretokenizers"][0]),
        lambda stored: stored["pre_tokenizer"]["pretokenizers"][0].update(trim_offsets=False),
        lambda stored: stored.update(truncation={"max_length": 4, "strategy": "LongestFirst", "stride": 0}),
        lambda stored: stored["added_tokens"][0].update(special=False),
        lambda stored: stored["model"].pop("type"),
    ],
)
def test_another_spelling_of_the_same_tokenizer_is_the_same(folder: Path, change: Change):
    before = opened(folder)
    after = opened(edit(folder, change))
    assert after.fingerprint == before.fingerprint
    assert after.encode("import argparse as module\n") == before.encode("import argparse as module\n")


def test_text_that_is_a_control_as_a_whole_word_stays_text(folder: Path):
    """After an x, the name is one word; ignore_merges would take it from the vocabulary."""

    def change(stored):
        stored["model"]["ignore_merges"] = True
        pattern = {
            "type": "Split",
            "pattern": {"Regex": "(?<=x)<tok>|<|tok|>|x"},
            "behavior": "Isolated",
            "invert": False,
        }
        stored["pre_tokenizer"]["pretokenizers"] = [
            pattern,
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        ]
        stored["model"]["vocab"]["<tok>"] = len(stored["model"]["vocab"])
        add_tokens(stored, ["<tok>"])

    tokenizer = opened(edit(folder, change))
    assert oracle(folder).encode("x<tok>").ids[-1] == 501, "the danger is real"
    assert 501 not in tokenizer.encode("x<tok>")
    assert tokenizer.decode(tokenizer.encode("x<tok>")) == "x<tok>"


def test_a_control_that_any_text_would_spell_after_export_is_refused(folder: Path):
    def change(stored):
        stored["model"]["ignore_merges"] = True
        stored["model"]["vocab"]["Control"] = len(stored["model"]["vocab"])
        add_tokens(stored, ["Control"])

    with pytest.raises(UserError, match=r"control token 'Control' in its vocabulary.*set ignore_merges to false"):
        opened(edit(folder, change))


def test_merges_that_start_from_a_control_never_happen(folder: Path):
    def change(stored):
        vocabulary = stored["model"]["vocab"]
        vocabulary["<tok>"], vocabulary["<tok>e"] = len(vocabulary), len(vocabulary) + 1
        stored["model"]["merges"].append("<tok> e")
        add_tokens(stored, ["<tok>"])

    tokenizer = opened(edit(folder, change))
    assert tokenizer.decode(tokenizer.encode("<tok>e")) == "<tok>e"
    assert not {501, 502} & set(tokenizer.encode("<tok>e"))


def test_a_listed_token_that_merges_make_is_ordinary_text(folder: Path):
    before = opened(folder)
    edit(folder, lambda stored: add_tokens(stored, ["self", "!"]))
    after = opened(folder)
    assert before.piece(before.encode("self")[0]) == "self", "made by merges"
    for text in ("self!", "itself !", "self.self"):
        assert after.encode(text) == before.encode(text)
        assert after.decode(after.encode(text)) == text
    assert after.fingerprint == before.fingerprint


def test_marks_of_documents_need_not_be_listed(folder: Path):
    before = opened(folder)
    edit(folder, lambda stored: stored["added_tokens"].clear())
    after = opened(folder)
    assert (after.bos_id, after.fingerprint) == (before.bos_id, before.fingerprint)
    assert after.decode([after.bos_id]) == ""


def test_names_that_a_base_makes_from_text_are_left_to_it(folder: Path):
    def change(stored):
        vocabulary = stored["model"]["vocab"]
        for end in range(2, len("<step>") + 1):
            vocabulary["<step>"[:end]] = len(vocabulary)
            stored["model"]["merges"].append(f"{'<step>'[: end - 1]} {'<step>'[end - 1]}")

    tokenizer = opened(edit(folder, change))
    assert tokenizer.piece(tokenizer.step_id) == "▁<step>"
    assert tokenizer.step_id not in tokenizer.encode("<step> ▁<step>")
    tokenizer.save(folder / "saved")
    assert opened(folder / "saved").step_id == tokenizer.step_id
    assert opened(folder / "saved").fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize(
    ("config", "model_config", "expected"),
    [
        ({"bos_token": "<a>", "eos_token": "<b>"}, {}, (501, 502)),
        ({"bos_token": {"content": "<a>"}, "eos_token": {"content": "<b>"}}, {"bos_token_id": 0}, (501, 502)),
        ({"bos_token": None, "eos_token": "<b>"}, {}, (502, 502)),
        ({"eos_token": "<b>"}, {"bos_token_id": 501, "eos_token_id": 500}, (501, 502)),
        ({}, {"bos_token_id": 501, "eos_token_id": [502, 500]}, (501, 502)),
        ({}, {"eos_token_id": 502}, (502, 502)),
    ],
)
@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_marks_of_documents_are_found(folder: Path, name: str, config, model_config, expected):
    edit(folder, lambda stored: add_tokens(stored, ["<a>", "<b>"]))
    write_json(folder / "tokenizer_config.json", config)
    write_json(folder / name, model_config)
    tokenizer = opened(folder)
    assert (tokenizer.bos_id, tokenizer.eos_id) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "tokenizer_config.json",
            "{}",
            "not told which token ends a document; name it as eos_token in tokenizer_config",
        ),
        ("tokenizer_config.json", "{", r"tokenizer_config\.json is not JSON"),
        ("tokenizer_config.json", "[]", "not told which token ends a document"),
        (
            "tokenizer_config.json",
            '{"eos_token": "</s>"}',
            r"says eos_token = '</s>', which tokenizer\.json does not have",
        ),
        ("tokenizer_config.json", '{"eos_token": "self"}', "makes 'self', its mark of documents, from text"),
        ("tokenizer_config.json", '{"eos_token": "!"}', "makes '!', its mark of documents, from text"),
        ("config.json", '{"eos_token_id": 999}', r"config\.json says eos_token_id = 999, which"),
        ("tokenizer.json", "{", r"tokenizer\.json is not JSON"),
        ("tokenizer.json", b"\xff\xfe\xfd", r"tokenizer\.json is not JSON"),
        ("tokenizer.json", "[]", "holds a tokenizer of type None"),
        ("tokenizer.json", '{"model": 3}', "holds a tokenizer of type None"),
        ("tokenizer.json", '{"model": {"type": "Unigram", "vocab": []}}', "holds a tokenizer of type 'Unigram'"),
        ("tokenizer.json", '{"model": {"type": "BPE", "byte_fallback": true}}', r"put its tokenizer\.model beside it"),
        ("tokenizer.json", '{"model": {"type": "BPE", "vocab": {"a": "x"}, "merges": []}}', "damaged: model.vocab.a: "),
        ("tokenizer.json", '{"model": {"type": "BPE", "vocab": {}, "merges": [["a"]]}}', "damaged: model.merges.0.1: "),
    ],
)
def test_files_that_say_too_little_or_nonsense_are_refused(folder: Path, name: str, content: str | bytes, message: str):
    if name == "config.json":
        write_json(folder / "tokenizer_config.json", {})
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        opened(folder)


def with_step(step: dict[str, object], **of_byte_level: object) -> Change:
    bytes_step = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
        **of_byte_level,
    }
    return lambda stored: stored.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [step, bytes_step]})


def without_z(stored):
    vocabulary = stored["model"]["vocab"]
    vocabulary["ZZ"] = vocabulary.pop("Z")


SPLIT = {"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": False}
COMES_BACK = "only a byte-level BPE tokenizer that gives every text back can be used"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stored: stored.update(pre_tokenizer=None), f"has 0 ByteLevel .* one; {COMES_BACK}"),
        (with_step({"type": "ByteLevel", "add_prefix_space": False}), "has 2 ByteLevel pre-tokenizers"),
        (with_step({"type": "Digits", "individual_digits": True}, add_prefix_space=True), "adds a space before"),
        (with_step({"type": "Whitespace"}), "may drop or change text in its pre-tokenizer Whitespace"),
        (with_step({"type": "Metaspace", "replacement": "▁"}), "in its pre-tokenizer Metaspace"),
        (with_step(SPLIT), "in its pre-tokenizer Split"),
        (lambda stored: stored.update(normalizer={"type": "NFC"}), "changes text by its normalizer NFC"),
        (
            lambda stored: stored.update(normalizer={"type": "Sequence", "normalizers": [{"type": "NFKC"}]}),
            "changes text by its normalizer Sequence",
        ),
        (lambda stored: stored["model"].update(dropout=0.1), r"encodes at random \(dropout=0\.1\)"),
        (lambda stored: stored["model"].update(end_of_word_suffix="</w>"), "marks the beginnings or ends"),
        (lambda stored: stored["model"].update(continuing_subword_prefix="##"), "marks the beginnings or ends"),
        (without_z, r"has no pieces for 1 of the bytes that text is made of \('Z' is the first\)"),
        (lambda stored: stored["model"]["vocab"].update(gap=999), "numbers its tokens with gaps or twice"),
        (lambda stored: stored["model"]["vocab"].update(twice=0), "numbers its tokens with gaps or twice"),
        (lambda stored: stored["added_tokens"][0].update(id=3), "numbers its tokens with gaps or twice"),
        (lambda stored: stored["model"]["merges"].append("no such"), "is damaged: Token `no` out of vocabulary"),
    ],
)  # fmt: skip
def test_tokenizers_that_would_change_text_are_refused(folder: Path, change: Change, message: str):
    with pytest.raises(UserError, match=message):
        opened(edit(folder, change))
