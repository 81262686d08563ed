"""The fast encoder gives the tokenizer's own ids, and is not used, or stops the work, where it does not."""

from __future__ import annotations

import json
import logging
import random
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from codellama_train.tokens.byte_level_tokenizer import ByteLevelTokenizer
from codellama_train.tokens.check_texts import CHECKED_CHARACTERS, check_texts, control_strings
from codellama_train.tokens.fast_encoder import (
    CALLS_PER_COMPARISON,
    Definitions,
    FastTokenizer,
    definitions_of,
    say_once,
    with_fast_encoder,
)
from codellama_train.tokens.infilling import infilled_ids
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer

pytest.importorskip("gigatoken", reason="needs the extra `fast`")

relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FRAGMENTS = st.sampled_from(
    [
        "▁",
        " ",
        "  ",
        " " * 40,
        "\n",
        "<s>",
        "</s>",
        " <PRE>",
        "▁<MID>",
        "<0x0A>",
        "é",
        "漢",
        "🙂",
        "def ",
        "_x1",
        "\0",
        "7",
    ]
)


@pytest.fixture(scope="module")
def fast(tokenizer: SentencePieceTokenizer) -> FastTokenizer:
    return accelerated(tokenizer)


def accelerated(tokenizer: SentencePieceTokenizer) -> FastTokenizer:
    fast = with_fast_encoder(tokenizer)
    assert isinstance(fast, FastTokenizer)
    return fast


def byte_level(folder: Path, texts: list[str], *steps: pre_tokenizers.PreTokenizer) -> ByteLevelTokenizer:
    """Train a byte-level tokenizer that has the sentinels of StarCoder."""
    model = tokenizers.Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.Sequence([*steps]) if len(steps) > 1 else steps[0]
    special = ["<|endoftext|>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    model.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, special_tokens=special, show_progress=False),
    )
    model.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": special[0]}))
    return ByteLevelTokenizer(folder / "tokenizer.json")


WORDS_OF_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.mark.parametrize(
    "steps",
    [
        [pre_tokenizers.ByteLevel(add_prefix_space=False)],
        [
            pre_tokenizers.Split(tokenizers.Regex(WORDS_OF_LLAMA_3), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ],
    ],
    ids=["gpt2", "llama3"],
)
def test_byte_level_tokenizers_are_accelerated(
    tmp_path: Path, source_texts: list[str], steps: list[pre_tokenizers.PreTokenizer]
):
    tokenizer = byte_level(tmp_path, source_texts, *steps)
    fast = with_fast_encoder(tokenizer)
    assert isinstance(fast, FastTokenizer)
    for text in [*source_texts, "<|endoftext|> <fim_prefix>▁", "a  b\n\n\t c12345's"]:
        assert fast.encode(text) == fast.encode_infilling(text) == tokenizer.encode(text)
        ids = np.array(tokenizer.encode(text))
        cuts = (len(text) // 3, len(text) // 2)
        ours, expected = (infilled_ids(each, each.document(ids), cuts, "psm") for each in (fast, tokenizer))
        assert ours.ids.tolist() == expected.ids.tolist()


def test_byte_level_words_unknown_to_the_library_keep_their_encoder(tmp_path: Path, source_texts: list[str]):
    steps = [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer = byte_level(tmp_path, source_texts, *steps)
    assert with_fast_encoder(tokenizer) is tokenizer


@relaxed
@given(st.one_of(st.text(st.characters(exclude_categories=("Cs",)), max_size=60), st.lists(FRAGMENTS).map("".join)))
def test_any_text_has_the_tokenizers_ids(fast: FastTokenizer, tokenizer: SentencePieceTokenizer, text: str):
    assert fast.encode(text) == tokenizer.encode(text)
    assert fast.encode_infilling(text) == tokenizer.encode_infilling(text)


def test_published_tokenizers_are_accelerated(real_tokenizer: SentencePieceTokenizer):
    fast = accelerated(real_tokenizer)
    rng = random.Random(6)
    for path in rng.sample(sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")), 100):
        text = path.read_text(encoding="utf-8", errors="replace")
        start = rng.randrange(len(text) + 1)
        for part in (text, text[start:], text[:start], text[start : start + 50]):
            assert fast.encode(part) == real_tokenizer.encode(part)
            assert fast.encode_infilling(part) == real_tokenizer.encode_infilling(part)


def test_all_else_is_the_tokenizers_own(fast: FastTokenizer, tokenizer: SentencePieceTokenizer, tmp_path: Path):
    for name in ("fingerprint", "vocabulary_size", "bos_id", "eos_id", "step_id", "sentinels", "longest_piece"):
        assert getattr(fast, name) == getattr(tokenizer, name)
    text = "  def f(x):\n    return '<s>'"
    ids = tokenizer.encode(text)
    assert (fast.decode(ids), fast.decode_infilling(ids)) == (text, " " + text)
    assert [fast.piece(token) for token in range(656)] == [tokenizer.piece(token) for token in range(656)]
    fast.save(tmp_path)
    assert SentencePieceTokenizer.from_folder(tmp_path).fingerprint == tokenizer.fingerprint


def test_documents_are_infilled_alike(fast: FastTokenizer, tokenizer: SentencePieceTokenizer, source_texts: list[str]):
    rng = random.Random(1)
    for text in source_texts:
        ids = np.array(tokenizer.encode(text), dtype=np.uint16)
        for mode in ("psm", "spm") * 20:
            first, second = sorted(rng.randrange(len(text) + 1) for _ in range(2))
            ours, expected = (
                infilled_ids(each, each.document(ids), (first, second), mode) for each in (fast, tokenizer)
            )
            assert ours.ids.tolist() == expected.ids.tolist()


def test_the_checked_texts_spell_everything(tokenizer: SentencePieceTokenizer):
    texts = list(check_texts(tokenizer))
    assert texts == list(check_texts(tokenizer))
    assert CHECKED_CHARACTERS <= sum(map(len, texts)) < 1.2 * CHECKED_CHARACTERS
    for control in control_strings(tokenizer):
        assert any(text.startswith(control) for text in texts)
        assert any(text.endswith(control) for text in texts)
        assert any(f"a{control}b" in text for text in texts)
    assert {"▁<PRE>", " <SUF>", "<s>", "</s>", "<EOT>"} <= {*control_strings(tokenizer)}
    assert any(" " * 80 in text for text in texts)
    assert max(map(ord, "".join(texts))) > 0x10000


def with_added_tokens(model: dict[str, Any]) -> None:
    """Keep the control pieces as added tokens, as the library reads them from a model file."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    names = {token: name for name, token in model["model"]["vocab"].items()}
    model["added_tokens"] = [{"id": token, "content": names[token], **flags} for token in (1, 2)]


def with_merged_controls(model: dict[str, Any]) -> None:
    """Let merges form a sentinel."""
    model["model"]["merges"].append(["▁<", "PRE>"])
    model["model"]["merges"] += [["P", "R"], ["PR", "E"], ["PRE", ">"], ["▁", "<"]]
    vocabulary = model["model"]["vocab"]
    names = [name for name in ("▁<", "PR", "PRE", "PRE>") if name not in vocabulary]
    vocabulary.update({name: 700 + number for number, name in enumerate(names)})


def with_merges_reversed(model: dict[str, Any]) -> None:
    model["model"]["merges"].reverse()


def with_runs_of_spaces_first(model: dict[str, Any]) -> None:
    """Rank the runs of spaces by their ids, which are low in Llama 2, and not by their scores, which are lowest."""
    merges = model["model"]["merges"]
    merges.sort(key=lambda pair: not {*"".join(pair)} <= {"▁"})


def without_prefix(model: dict[str, Any]) -> None:
    model["normalizer"]["normalizers"].pop(0)


SPOILERS = [with_added_tokens, with_merged_controls, with_merges_reversed, without_prefix]


def spoilt(tokenizer: SentencePieceTokenizer, spoil: Callable[[dict[str, Any]], None]) -> FastTokenizer:
    definitions = definitions_of(tokenizer)
    model = json.loads(definitions.plain)
    spoil(model)
    return FastTokenizer(tokenizer, Definitions(json.dumps(model), definitions.infilling))


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_wrong_translation_is_found_before_it_is_used(
    tokenizer: SentencePieceTokenizer, spoil: Callable[[dict[str, Any]], None]
):
    difference = spoilt(tokenizer, spoil).first_difference(check_texts(tokenizer))
    assert difference is not None
    assert accelerated(tokenizer).first_difference(check_texts(tokenizer)) is None


def test_the_usual_wrong_translation_of_llama_2_is_found(llama2: SentencePieceTokenizer):
    assert spoilt(llama2, with_runs_of_spaces_first).first_difference(check_texts(llama2)) is not None


def test_a_wrong_infilling_encoder_is_found(tokenizer: SentencePieceTokenizer):
    plain = definitions_of(tokenizer).plain
    assert FastTokenizer(tokenizer, Definitions(plain, plain)).first_difference(check_texts(tokenizer)) is not None


def test_a_difference_while_running_stops_the_work(tokenizer: SentencePieceTokenizer):
    encoder = spoilt(tokenizer, with_added_tokens)
    for _ in range(CALLS_PER_COMPARISON - 1):
        encoder.encode("x = '</s>'")
    with pytest.raises(RuntimeError, match=r"text that begins \"x = '</s>'\"; run `pip uninstall gigatoken`"):
        encoder.encode("x = '</s>'")


def test_an_untranslatable_tokenizer_keeps_its_own_encoder(shared_data: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    say_once.cache_clear()
    stories = SentencePieceTokenizer.from_folder(shared_data / "stories260k" / "tok512.model")
    assert with_fast_encoder(stories) is stories
    assert with_fast_encoder(stories) is stories
    (record,) = caplog.records
    assert "cannot stand in for this tokenizer" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_without_the_library_nothing_changes_and_nothing_is_said(
    tokenizer: SentencePieceTokenizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    assert with_fast_encoder(tokenizer) is tokenizer
    assert not caplog.records


def test_use_is_logged_once(tokenizer: SentencePieceTokenizer, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    say_once.cache_clear()
    accelerated(tokenizer)
    accelerated(tokenizer)
    assert [record.getMessage().split(";")[0] for record in caplog.records] == ["gigatoken 0.10.0 encodes"]


def test_threads_may_share_it(fast: FastTokenizer, tokenizer: SentencePieceTokenizer):
    texts = list(check_texts(tokenizer))
    expected = [(tokenizer.encode(text), tokenizer.encode_infilling(text)) for text in texts]

    def encode_all(seed: int) -> bool:
        order = random.Random(seed).sample(range(len(texts)), len(texts))
        return all((fast.encode(texts[n]), fast.encode_infilling(texts[n])) == expected[n] for n in order)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(encode_all, range(8)))


ENCODE_AND_COUNT_THREADS = """\
import os, sys
from pathlib import Path
from codellama_train.tokens.fast_encoder import FastTokenizer, with_fast_encoder
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer

def threads():
    return len(os.listdir("/proc/self/task"))

tokenizer = SentencePieceTokenizer.from_folder(Path(sys.argv[1]))
before = threads()
fast = with_fast_encoder(tokenizer)
assert isinstance(fast, FastTokenizer)
fast.encode(" ".join(map(str, range(300_000))))
assert threads() <= before, (before, threads())
child = os.fork()
if child == 0:
    os._exit(fast.encode("x = 1") != tokenizer.encode("x = 1"))
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux lists them")
def test_it_starts_no_threads_and_survives_a_fork(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    tokenizer.save(tmp_path)
    subprocess.run([sys.executable, "-c", ENCODE_AND_COUNT_THREADS, str(tmp_path)], check=True, timeout=120)


NEVER_REPEATING_WORDS = """\
import random, resource, sys
from pathlib import Path
from codellama_train.tokens.fast_encoder import with_fast_encoder
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer

fast = with_fast_encoder(SentencePieceTokenizer.from_folder(Path(sys.argv[1])))
rng = random.Random(1)
peak = []
for _ in range(220):
    fast.encode(" ".join("%x" % rng.getrandbits(rng.randrange(8, 120)) for _ in range(100_000)))
    peak.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(peak[-1])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    """The library itself takes 3 GB for these 370 MB, and more for more."""
    tokenizer.save(tmp_path)
    command = [sys.executable, "-c", NEVER_REPEATING_WORDS, str(tmp_path)]
    run = subprocess.run(command, check=True, timeout=600, capture_output=True, text=True)
    assert float(run.stdout) < 1_300
