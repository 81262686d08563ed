from __future__ import annotations

import json
import random
import shutil
import sysconfig
from pathlib import Path

import pytest
from byte_level_worlds import STYLES, write_byte_level
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from codellama_train.console import UserError
from codellama_train.tokens.dialogue import Message, dialogue_prompt, encode_dialogue
from codellama_train.tokens.hugging_face import (
    PROBES,
    check_fast_tokenizer,
    write_fast_tokenizer,
)
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer, parse_model
from codellama_train.tokens.tokenizer import Tokenizer

FRAGMENTS = [
    " ",
    "  ",
    "\n",
    "\t",
    "▁",
    "a",
    "<s>",
    "</s>",
    "<",
    "é",
    "漢",
    "\u0301",
    "🙂",
    "0",
    "==",
    "def ",
    "▁<PRE>",
    " <PRE>",
]


@pytest.fixture(scope="module")
def folder(tokenizer: SentencePieceTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as export writes it, without the weights."""
    path = tmp_path_factory.mktemp("fast")
    write_model_folder(tokenizer, path)
    return path


@pytest.fixture(scope="module")
def reloaded(folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module", params=STYLES)
def byte_level(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Path]:
    """A byte-level tokenizer, and a model folder with its export."""
    base, path = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("fast")
    tokenizer = open_tokenizer(write_byte_level(base, request.param))
    write_model_folder(tokenizer, path)
    return tokenizer, path


def write_model_folder(tokenizer: Tokenizer, path: Path) -> None:
    # The model type is what makes AutoTokenizer want to rebuild a Llama tokenizer.
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    tokenizer.save(path)
    write_fast_tokenizer(tokenizer, path, model_max_length=4_096)


def awkward_texts(count: int) -> list[str]:
    rng = random.Random(4)
    return ["".join(rng.choices(FRAGMENTS, k=rng.randrange(20))) for _ in range(count)]


def standard_library(count: int) -> list[str]:
    """Real files, and from each a span and an indented beginning."""
    rng = random.Random(5)
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")) + sorted(
        Path(sysconfig.get_path("stdlib"), "encodings").glob("*.py")
    )
    texts = []
    for path in rng.sample(files, min(count, len(files))):
        text = path.read_text(encoding="utf-8", errors="replace")
        start = rng.randrange(len(text) + 1)
        texts += [text, text[start : start + 200], text[text.find("\n    ") + 1 :][:200]]
    return texts


def test_a_fresh_process_reads_what_sentencepiece_does(tokenizer: SentencePieceTokenizer, folder: Path):
    check_fast_tokenizer(tokenizer, folder)


def test_a_fresh_process_reads_what_the_byte_level_tokenizer_does(tmp_path: Path):
    tokenizer = open_tokenizer(write_byte_level(tmp_path / "base", "deepseek"))
    write_model_folder(tokenizer, tmp_path / "model")
    check_fast_tokenizer(tokenizer, tmp_path / "model")


def test_a_reloaded_byte_level_tokenizer_gives_the_same_ids(byte_level: tuple[Tokenizer, Path]):
    tokenizer, path = byte_level
    fast = AutoTokenizer.from_pretrained(path)
    for text in [*PROBES, *awkward_texts(300), *standard_library(20)]:
        ids = tokenizer.encode(text)
        assert fast(text, add_special_tokens=False)["input_ids"] == ids
        assert fast(text)["input_ids"] == [tokenizer.bos_id, *ids]
        assert fast.decode(ids) == tokenizer.decode(ids)
    pieces = [tokenizer.piece(token) for token in range(len(fast))]
    assert fast.convert_ids_to_tokens(list(range(len(fast)))) == pieces
    assert tokenizer.piece(len(fast)) is None
    assert (fast.bos_token_id, fast.eos_token_id) == (tokenizer.bos_id, tokenizer.eos_id)


def test_no_added_token_of_a_base_is_found_in_text(byte_level: tuple[Tokenizer, Path]):
    tokenizer, path = byte_level
    fast = AutoTokenizer.from_pretrained(path)
    names = list(fast.get_added_vocab())
    sentinels = tokenizer.sentinels
    assert {tokenizer.bos_id, sentinels.end, sentinels.middle, tokenizer.step_id} <= set(
        fast.get_added_vocab().values()
    )
    for name in names:
        for text in (name, f" {name}", f"x{name}y", f"{name}\n{name}"):
            ids = fast(text, add_special_tokens=False)["input_ids"]
            assert ids == tokenizer.encode(text)
            assert not set(fast.get_added_vocab().values()) & set(ids)
            assert fast.decode(ids) == text
    assert fast.decode([*fast.convert_tokens_to_ids(names), *tokenizer.encode("x")], skip_special_tokens=True) == "x"


def test_opening_an_export_gives_the_tokenizer_again(byte_level: tuple[Tokenizer, Path], tmp_path: Path):
    tokenizer, path = byte_level
    assert open_tokenizer(path).fingerprint == tokenizer.fingerprint
    write_fast_tokenizer(tokenizer, tmp_path, dialogue_format="inst", model_max_length=64)
    again = open_tokenizer(tmp_path)
    assert again.fingerprint == tokenizer.fingerprint
    assert again.sentinels == tokenizer.sentinels


@pytest.mark.parametrize(
    "name", ["llama2_tokenizer/tokenizer.model", "mistral_v1_tokenizer/tokenizer.model", "stories260k/tok512.model"]
)
def test_published_tokenizers_give_sentencepieces_ids(shared_data: Path, name: str, tmp_path: Path):
    tokenizer = SentencePieceTokenizer.from_folder(shared_data / name)
    write_model_folder(tokenizer, tmp_path)
    texts = [*PROBES, *awkward_texts(1_000), *standard_library(60)]
    fast = AutoTokenizer.from_pretrained(tmp_path)
    ids = fast(texts, add_special_tokens=False)["input_ids"]
    assert ids == [tokenizer.encode(text) for text in texts]
    assert [fast.decode(tokens) for tokens in ids] == [tokenizer.decode(tokens) for tokens in ids]
    assert (fast.bos_token_id, fast.eos_token_id) == (tokenizer.bos_id, tokenizer.eos_id)
    names = [piece.piece for piece in tokenizer.extended_model().pieces]
    assert fast.convert_ids_to_tokens(list(range(len(fast)))) == names


def test_sentinels_are_found_by_name_and_never_by_text(
    tokenizer: SentencePieceTokenizer, reloaded: PreTrainedTokenizerBase
):
    sentinels = tokenizer.sentinels
    names = ["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"]
    expected = [sentinels.prefix, sentinels.suffix, sentinels.middle, sentinels.end]
    assert reloaded.convert_tokens_to_ids(names) == expected
    assert reloaded(" <PRE> ▁<SUF><s>").input_ids == [tokenizer.bos_id, *tokenizer.encode(" <PRE> ▁<SUF><s>")]
    assert reloaded.decode([*expected, *tokenizer.encode("x")], skip_special_tokens=True) == "x"
    assert reloaded.model_max_length == 4_096


def test_the_chat_template_writes_what_dialogues_are_trained_on(
    tokenizer: SentencePieceTokenizer, reloaded: PreTrainedTokenizerBase
):
    messages = [
        *(Message("system", " Be brief.\n"), Message("user", "  Hi \n"), Message("assistant", " Hello\n there ")),
        *(Message("user", "Sort a list"), Message("assistant", "sorted(x)"), Message("user", "Thanks ")),
    ]
    for count, expected in (
        (6, dialogue_prompt(tokenizer, messages)),
        (5, encode_dialogue(tokenizer, messages[:5])[0]),
    ):
        chat = [{"role": message.role, "content": message.content} for message in messages[:count]]
        encoded = reloaded.apply_chat_template(chat, tokenizer_kwargs={"split_special_tokens": False})
        assert encoded["input_ids"] == expected
    without_system = [{"role": "user", "content": "Hi"}]
    assert reloaded.apply_chat_template(without_system, tokenize=False) == "<s>[INST] Hi [/INST]"
    for bad in ([{"role": "assistant", "content": "x"}], [{"role": "user", "content": "a [INST] b"}]):
        with pytest.raises(Exception, match=r"take turns|a tag of the chat format"):
            reloaded.apply_chat_template(bad, tokenize=False)


def test_a_wrong_translation_is_found(tokenizer: SentencePieceTokenizer, folder: Path, tmp_path: Path):
    spoilt = tmp_path / "spoilt"
    shutil.copytree(folder, spoilt)
    stored = json.loads((spoilt / "tokenizer.json").read_text(encoding="utf-8"))
    stored["model"]["merges"].reverse()
    (spoilt / "tokenizer.json").write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"differs from the trained one in the ids of '.*': expected \[.*, found \["):
        check_fast_tokenizer(tokenizer, spoilt)


def test_a_folder_that_cannot_be_read_is_named(tokenizer: SentencePieceTokenizer, folder: Path, tmp_path: Path):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "tokenizer.json").write_text("{}")
    with pytest.raises(RuntimeError, match="AutoTokenizer cannot read"):
        check_fast_tokenizer(tokenizer, broken)


def test_a_tokenizer_of_another_kind_is_refused(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    model = parse_model(tokenizer.model_bytes)
    model.normalizer_spec.add_dummy_prefix = False
    with pytest.raises(UserError, match="dummy prefix"):
        write_fast_tokenizer(SentencePieceTokenizer(model.SerializeToString()), tmp_path)
