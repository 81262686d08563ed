"""Open the tokenizer of a model folder, of whichever kind it is."""

from __future__ import annotations

from pathlib import Path

from codellama_train.console import UserError
from codellama_train.tokens.byte_level_file import TOKENIZER_FILE
from codellama_train.tokens.byte_level_tokenizer import ByteLevelTokenizer
from codellama_train.tokens.sentencepiece_tokenizer import SENTENCEPIECE_FILE, SentencePieceTokenizer, load_processor
from codellama_train.tokens.tokenizer import Tokenizer


def open_tokenizer(path: Path, *, num_rows: int | None = None) -> Tokenizer:
    """Read the tokenizer of a model folder or a tokenizer folder, or one of its two kinds of files.

    `num_rows` are those of the embedding, where they are known: infilling tokens beyond them are left out.

    A SentencePiece model goes first, since its translation for other libraries stands beside it. A `tokenizer.model`
    of another make (Llama 3's is a list of ranks) is passed over where there is a `tokenizer.json`.
    """
    tokenizer = _open(path)
    return tokenizer if num_rows is None or num_rows >= tokenizer.vocabulary_size else tokenizer.within(num_rows)


def _open(path: Path) -> SentencePieceTokenizer | ByteLevelTokenizer:
    if path.is_file():
        return ByteLevelTokenizer(path) if path.suffix == ".json" else SentencePieceTokenizer.from_folder(path)
    model, file = path / SENTENCEPIECE_FILE, path / TOKENIZER_FILE
    if model.is_file() and (is_sentencepiece(model) or not file.is_file()):
        return SentencePieceTokenizer.from_folder(model)
    if not file.is_file():
        raise UserError(f"{path} has no {SENTENCEPIECE_FILE} and no {TOKENIZER_FILE}; a tokenizer is one or the other")
    return ByteLevelTokenizer(file)


def is_sentencepiece(path: Path) -> bool:
    """Tell whether a file is a SentencePiece model, usable or not."""
    try:
        load_processor(path.read_bytes())
    except RuntimeError:
        return False
    return True
