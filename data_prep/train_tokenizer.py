"""Stage 7, tokenizer: the one the recipe names, or one trained on the documents with Llama 2's settings."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sentencepiece

from codellama_train.console import UserError
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.data_rules import Redaction
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.tokenizer import Tokenizer
from data_prep.documents import digest
from data_prep.parts import kept_by, only, part_names, source_of
from data_prep.sources.roots import resolve_file
from data_prep.split import is_held_out_by_part
from data_prep.tags.redaction import documents_to_encode
from data_prep.work import Work

MEGABYTE = 1_000_000

# The trainer and normaliser settings stored in Llama 2's tokenizer.model (section 2.2), sizes aside.
LLAMA_2_SETTINGS: dict[str, Any] = {
    "model_type": "bpe",
    "character_coverage": 0.99995,
    "max_sentence_length": 4192,  # bytes; longer lines are passed over
    "max_sentencepiece_length": 16,
    "split_by_unicode_script": True,
    "split_by_whitespace": True,
    "split_by_number": True,
    "split_digits": True,
    "treat_whitespace_as_suffix": False,
    "allow_whitespace_only_pieces": True,
    "byte_fallback": True,
    "unk_id": 0,
    "bos_id": 1,
    "eos_id": 2,
    "pad_id": -1,
    "normalization_rule_name": "identity",
    "add_dummy_prefix": True,
    "remove_extra_whitespaces": False,
}
# Written into the model, so it must not follow the machine.
THREADS = 16


def run(work: Work) -> dict[str, Any]:
    """Write the tokenizer's files."""
    recipe = work.recipe.tokenizer
    if recipe.path is not None:
        tokenizer = _given_tokenizer(recipe.path)
    else:
        assert recipe.vocabulary_size is not None
        assert recipe.sample_megabytes is not None
        lines = _training_lines(work, recipe.sample_megabytes * MEGABYTE)
        tokenizer = SentencePieceTokenizer(train(lines, recipe.vocabulary_size))
    tokenizer.save(work.folder)
    return {"tokenizer": tokenizer.fingerprint, "vocabulary_size": tokenizer.vocabulary_size}


def inputs_of(recipe: DataRecipe) -> Any:
    """Give what decides the stage's output: its keys, the given tokenizer, the sources sampled and what they hide."""
    given = recipe.tokenizer.path
    fingerprint = given and _given_tokenizer(given).fingerprint
    redaction = recipe.redaction and recipe.redaction.kinds
    return [recipe.tokenizer.model_dump(mode="json"), fingerprint, list(recipe.sources), redaction]


def _given_tokenizer(path: str) -> Tokenizer:
    """Open the tokenizer of a model's folder, or one of the files that tokenizers come as."""
    folder = Path(path).expanduser()
    remedy = "name a model's folder, its tokenizer.model or its tokenizer.json"
    return open_tokenizer(folder if folder.is_dir() else resolve_file("tokenizer.path", path, remedy=remedy))


def train(lines: Iterator[str], vocabulary_size: int) -> bytes:
    """Train a SentencePiece BPE model on lines of text."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=model,
            vocab_size=vocabulary_size,
            num_threads=THREADS,
            minloglevel=2,
            **LLAMA_2_SETTINGS,
        )
    except RuntimeError as error:
        raise UserError(
            f"tokenizer.vocabulary_size={vocabulary_size:,}: SentencePiece cannot train on this text ({error}); "
            f"choose another size or give more text"
        ) from error
    return model.getvalue()


def _training_lines(work: Work, sample_bytes: int) -> Iterator[str]:
    """Give the lines of training documents, the same number of bytes from each source, parts in a shuffled order."""
    left = dict.fromkeys(work.recipe.sources, sample_bytes // len(work.recipe.sources))
    for part in sorted(part_names(work.run_dir), key=lambda part: digest(part.encode())):
        source = source_of(part)
        for text in _training_texts(work.run_dir, part, work.recipe.redaction) if left[source] > 0 else ():
            if left[source] > 0:
                left[source] -= len(text.encode())
                yield from text.splitlines()


def _training_texts(run_dir: Path, part: str, redaction: Redaction | None) -> list[str]:
    """Give the texts of a part's training documents as they will be encoded."""
    trained = kept_by(run_dir, "split", part) & ~is_held_out_by_part(run_dir, part)
    texts: list[str] = only(documents_to_encode(run_dir, part, redaction, ["text"]), trained)["text"].to_pylist()
    return texts
