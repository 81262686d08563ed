"""Byte-level BPE tokenizers (`tokenizer.json`), extended by the infilling tokens that they lack (section 2.3).

The `tokenizers` library is the oracle. There is no implicit leading space, so the two ways of encoding coincide. Every
text comes back exactly, but for bytes that a base has no piece for: SmolLM2 drops some control characters.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, processors

from codellama_train import artifacts
from codellama_train.console import UserError
from codellama_train.tokens.byte_level_file import BYTE_OF_SIGN, BpeModel, TokenizerFile, read_tokenizer_file
from codellama_train.tokens.byte_level_vocabulary import read_vocabulary
from codellama_train.tokens.hugging_face import write_fast_tokenizer
from codellama_train.tokens.tokenizer import DocumentText, IdArray, WholeText, padded_vocabulary, require_room


class ByteLevelTokenizer:
    """A `tokenizer.json` whose added tokens are ids only: no text is ever encoded to one of them.

    That holds for added tokens that are not special, too: where a base lists runs of spaces, merges encode them.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._stored = path, path.read_bytes()
        file = self._file()
        vocabulary = self._vocabulary = read_vocabulary(path, file)
        self._encoder = build(path, without_controls(file.model, vocabulary.controls), file.pre_tokenizer)
        for name in exposed_controls(file.model, vocabulary.controls, self._encoder):
            raise UserError(
                f"{path} has the control token {name!r} in its vocabulary, and ignore_merges would make it of the same "
                "text once the tokenizer is exported; set ignore_merges to false"
            )
        names = {token_id: name for name, token_id in (*vocabulary.pieces.items(), *vocabulary.controls.items())}
        self._names = [names[token_id] for token_id in range(len(names))]
        self._bytes = [b""] * len(names)
        for name, token_id in vocabulary.pieces.items():
            self._bytes[token_id] = bytes_of(name)
        self._num_ids = len(names)
        self.vocabulary_size = padded_vocabulary(self._num_ids)
        self.bos_id, self.eos_id, self.step_id = vocabulary.bos_id, vocabulary.eos_id, vocabulary.step_id
        self.sentinels = vocabulary.sentinels
        self.longest_piece = max(map(len, self._bytes))  # no character has less than a byte

    @cached_property
    def fingerprint(self) -> str:
        """Hash what decides the ids, not how the file spells it; a base's file and its extended one are equal in it."""
        file, vocabulary = self._file(), self._vocabulary
        return artifacts.fingerprint(
            {
                "pieces": vocabulary.pieces,
                "controls": vocabulary.controls,
                "merges": file.model.merges,
                "ignore_merges": file.model.ignore_merges,
                "steps": file.steps,
                "bos": self.bos_id,
                "eos": self.eos_id,
            }
        )

    def encode(self, text: str) -> list[int]:
        """Encode; no BOS or EOS is added."""
        ids: list[int] = self._encoder.encode(text, add_special_tokens=False).ids
        return ids

    def encode_infilling(self, text: str) -> list[int]:
        """Encode a middle or a suffix, which is no different here."""
        return self.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Undo `encode`; control ids give nothing, and bytes that are no UTF-8 the replacement character."""
        table = self._bytes
        return b"".join([table[token_id] for token_id in ids if token_id < len(table)]).decode(errors="replace")

    def decode_infilling(self, ids: Sequence[int]) -> str:
        """Undo `encode_infilling`."""
        return self.decode(ids)

    def document(self, ids: IdArray) -> DocumentText:
        """Open the ids of an *exact* document for infilling."""
        return WholeText(self, self.decode(ids.tolist()))

    def piece(self, token_id: int) -> str | None:
        """Name a token for people to read; None for a row of the embedding that no token has."""
        return self._names[token_id] if token_id < self._num_ids else None

    def within(self, num_rows: int) -> ByteLevelTokenizer:
        """Give this tokenizer for a model of fewer embedding rows: without the infilling tokens that the base lacks."""
        own, limited = self._file(), copy.copy(self)
        ids = [*own.model.vocab.values(), *(token.id for token in own.added_tokens)]
        limited.vocabulary_size, limited._num_ids = num_rows, 1 + max(ids)
        require_room(self, text_ids=limited._num_ids, num_rows=num_rows)
        return limited

    @property
    def definition(self) -> str:
        """The oracle as a `tokenizer.json` in which nothing is an added token and no control has a name of text."""
        definition: str = self._encoder.to_str()
        return definition

    def for_transformers(self) -> Tokenizer:
        """Give the extended tokenizer for the `tokenizers` library, BOS added and every control token special."""
        file, controls = self._file(), self._vocabulary.controls
        fast = build(self._path, file.model, file.pre_tokenizer)
        kept = [name for name in sorted(controls, key=controls.__getitem__) if controls[name] < self._num_ids]
        fast.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in kept])
        bos = self._names[self.bos_id]
        fast.post_processor = processors.TemplateProcessing(
            single=[bos, "$A"], pair=[bos, "$A", bos, "$B"], special_tokens=[(bos, self.bos_id)]
        )
        fast.decoder = decoders.ByteLevel()
        return fast

    def save(self, folder: Path) -> None:
        """Write the extended `tokenizer.json` and `tokenizer_config.json`, which names BOS and EOS."""
        write_fast_tokenizer(self, folder)

    def _file(self) -> TokenizerFile:
        """Read the stored file anew: as objects it takes ten times its size."""
        return read_tokenizer_file(self._path, self._stored)


def without_controls(model: BpeModel, controls: Mapping[str, int]) -> BpeModel:
    """Rename controls in a base's vocabulary so that no text can spell them: no byte's sign is a space.

    Merges that start from a control are left out; they never happen.
    """
    vocabulary = {f"control {token}" if name in controls else name: token for name, token in model.vocab.items()}
    merges = [pair for pair in model.merges if pair[0] not in controls and pair[1] not in controls]
    return model.model_copy(update={"vocab": vocabulary, "merges": merges})


def exposed_controls(model: BpeModel, controls: Mapping[str, int], encoder: Tokenizer) -> Iterator[str]:
    """Find controls that text could spell where they keep their names, as they must in the files for others."""
    for name in controls.keys() & model.vocab.keys() if model.ignore_merges else ():
        if BYTE_OF_SIGN.keys() >= set(name):
            words = encoder.pre_tokenizer.pre_tokenize_str(bytes_of(name).decode(errors="replace"))
            if [word for word, _ in words] == [name]:
                yield name


def bytes_of(name: str) -> bytes:
    """Give the bytes of a piece that is named by their signs."""
    return bytes(map(BYTE_OF_SIGN.__getitem__, name))


def build(path: Path, model: BpeModel, pre_tokenizer: dict[str, Any] | None) -> Tokenizer:
    """Build the library's tokenizer from what decides the ids of text alone."""
    stored: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "vocab": model.vocab,
            "merges": model.merges,
            "ignore_merges": model.ignore_merges,
        },
    }
    try:
        return Tokenizer.from_str(json.dumps(stored))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{path} is damaged: {error}") from error
