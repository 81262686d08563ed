from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codellama_train.console import UserError
from codellama_train.tokens.sentencepiece_tokenizer import (
    CONTROL,
    INFILLING_PIECES,
    SentencePieceTokenizer,
    load_processor,
    parse_model,
)

NORMAL = 1
AWKWARD = [" <PRE>", " <EOT", " <MID> x", "<SUF> <SU", " <EOT><EOT>", "▁<PRE>", "<s></s>", "a <M b <E", "\0\x01"]
relaxed = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def extended_as_meta_does(model_bytes: bytes) -> bytes:
    """Add the infilling pieces as ordinary ones, merges and all, as in the released Code Llama."""
    model = parse_model(model_bytes)
    for index, name in enumerate(INFILLING_PIECES):
        model.pieces.add(piece=name, score=-1e9 - index, type=NORMAL)
    return model.SerializeToString()


def with_pieces_renamed(model_bytes: bytes, names: dict[int, str]) -> bytes:
    model = parse_model(model_bytes)
    for token_id, name in names.items():
        model.pieces[token_id].piece = name
    return model.SerializeToString()


def random_spans(texts: list[str], count: int) -> list[str]:
    rng = random.Random(3)
    spans = []
    for _ in range(count):
        text = rng.choice(texts)
        start = rng.randrange(len(text))
        spans.append(text[start : start + rng.randrange(1, 80)])
    return spans


def test_infilling_pieces_have_code_llamas_ids_and_names(llama2: SentencePieceTokenizer, shared_data: Path):
    stored = (shared_data / "llama2_tokenizer" / "codellama_tokenizer.bin").read_bytes()
    names, offset = [], 4
    while offset < len(stored):
        _, length = struct.unpack_from("<fi", stored, offset)
        names.append(stored[offset + 8 : offset + 8 + length].decode())
        offset += 8 + length
    shown = {"▁<PRE>": "\n<PREFIX>\n", "▁<SUF>": "\n<SUFFIX>\n", "▁<MID>": "\n<MIDDLE>\n", "▁<EOT>": "\n<EOT>\n"}
    ours = [llama2.piece(token_id) for token_id in range(32_000, 32_016)]
    assert [shown.get(name, name.replace("▁", " ")) for name in ours] == names[32_000:]
    assert llama2.vocabulary_size == len(names) == 32_016
    sentinels = llama2.sentinels
    assert (sentinels.prefix, sentinels.suffix, sentinels.middle, sentinels.end) == (32_007, 32_008, 32_009, 32_010)


def test_extension_changes_no_ordinary_ids(real_tokenizer: SentencePieceTokenizer, source_texts: list[str]):
    plain = load_processor(real_tokenizer.model_bytes)
    probes = [*source_texts, *random_spans(source_texts, 300), *AWKWARD]
    assert [real_tokenizer.encode(text) for text in probes] == [plain.encode(text) for text in probes]


def test_encoding_without_space_equals_metas_trick(real_tokenizer: SentencePieceTokenizer, source_texts: list[str]):
    plain = load_processor(real_tokenizer.model_bytes)
    for span in [*random_spans(source_texts, 500), "", " ", "  x", "\n"]:
        assert real_tokenizer.encode_infilling(span) == plain.encode("☺" + span)[2:]


def test_the_released_form_is_demoted_and_keeps_its_ids(tokenizer: SentencePieceTokenizer, source_texts: list[str]):
    released = extended_as_meta_does(tokenizer.model_bytes)
    demoted = SentencePieceTokenizer(released)
    types = {piece.piece: piece.type for piece in demoted.extended_model().pieces}
    assert {types[name] for name in INFILLING_PIECES} == {CONTROL}
    assert demoted.sentinels == tokenizer.sentinels
    assert demoted.vocabulary_size == tokenizer.vocabulary_size
    for text in [*AWKWARD, *source_texts]:
        assert demoted.encode(text) == tokenizer.encode(text)
        assert demoted.encode_infilling(text) == tokenizer.encode_infilling(text)


def test_a_code_llama_base_encodes_as_llama_2(llama2: SentencePieceTokenizer, source_texts: list[str]):
    released = extended_as_meta_does(llama2.model_bytes)
    assert load_processor(released).encode(" <PRE>")[-1] == 32_007, "as released, text spells sentinels"
    demoted = SentencePieceTokenizer(released)
    assert demoted.sentinels == llama2.sentinels
    texts = [*AWKWARD, *source_texts]
    assert [demoted.encode(text) for text in texts] == [llama2.encode(text) for text in texts]


@relaxed
@given(st.text("▁ <PREOTMIDSUF>", max_size=30))
def test_no_text_spells_a_control_piece(tokenizer: SentencePieceTokenizer, text: str):
    controls = {index for index, piece in enumerate(tokenizer.extended_model().pieces) if piece.type == CONTROL}
    assert len(controls) == 18
    assert not controls & {*tokenizer.encode(text), *tokenizer.encode_infilling(text)}


def test_a_base_with_a_piece_of_the_same_name_keeps_it(tokenizer: SentencePieceTokenizer):
    last = len(parse_model(tokenizer.model_bytes).pieces)
    base = SentencePieceTokenizer(with_pieces_renamed(tokenizer.model_bytes, {last - 1: "▁<M", last - 2: "▁<PRE>"}))
    assert base.sentinels.prefix == last - 2
    assert base.sentinels.end == last + 10
    assert base.vocabulary_size == tokenizer.vocabulary_size
    types = {piece.piece: piece.type for piece in base.extended_model().pieces}
    assert (types["▁<M"], types["▁<PRE>"]) == (NORMAL, CONTROL)


def test_a_base_with_the_four_sentinels_gets_only_the_step_token(tokenizer: SentencePieceTokenizer):
    last = len(parse_model(tokenizer.model_bytes).pieces)
    names = {last - 1: "▁<PRE>", last - 2: "▁<MID>", last - 3: "▁<SUF>", last - 4: "▁<EOT>"}
    base = SentencePieceTokenizer(with_pieces_renamed(tokenizer.model_bytes, names))
    assert (base.sentinels.prefix, base.sentinels.end) == (last - 1, last - 4)
    assert len(base.extended_model().pieces) == last + 1
    assert base.step_id == last


def test_rows_are_padded_to_a_multiple_of_16(tokenizer: SentencePieceTokenizer):
    assert len(parse_model(tokenizer.model_bytes).pieces) == 637
    assert len(tokenizer.extended_model().pieces) == 653
    assert tokenizer.vocabulary_size == 656
    assert tokenizer.sentinels.end == 637 + 10
    assert [tokenizer.piece(token_id) for token_id in (652, 653, 655)] == ["▁" + "<EOT>" * 6, None, None]


@relaxed
@given(st.text(st.characters(exclude_characters="▁", exclude_categories=("Cs",)), max_size=60))
def test_decoding_gives_the_text_back(tokenizer: SentencePieceTokenizer, text: str):
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode_infilling(tokenizer.encode_infilling(text)) == text


def test_the_spaces_own_sign_is_the_known_exception(tokenizer: SentencePieceTokenizer):
    assert tokenizer.decode(tokenizer.encode("a▁b")) == "a b"


def test_saving_and_reading_gives_the_same_tokenizer(tokenizer: SentencePieceTokenizer, tmp_path: Path):
    tokenizer.save(tmp_path / "folder")
    for place in (tmp_path / "folder", tmp_path / "folder" / "tokenizer.model"):
        again = SentencePieceTokenizer.from_folder(place)
        assert again.fingerprint == tokenizer.fingerprint
        assert again.encode("def f(x):") == tokenizer.encode("def f(x):")
    saved = sentencepiece.SentencePieceProcessor(str(tmp_path / "folder" / "tokenizer.model"))
    assert saved.get_piece_size() == 637


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"has no tokenizer\.model"):
        SentencePieceTokenizer.from_folder(tmp_path)
