"""Shards to Megatron's pair and back, with Megatron's own reader and writer as the judge."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import sentencepiece
from small_data import function_text, prose, write_dialogues, write_documents

from codellama_train.console import UserError
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import ShardSet
from data_prep.shards.indexed_shards import export_shards, import_shards

TEXTS = [function_text(number) for number in range(120)] + ["sep = '▁'\n", "", prose(1)]

# Reads a pair with Megatron's reader, and writes its documents as another pair with Megatron's builder.
MEGATRON = """
import json, sys
import numpy, torch
from megatron.core.datasets.indexed_dataset import DType, IndexedDataset, IndexedDatasetBuilder
ours, theirs, vocabulary_size = sys.argv[1], sys.argv[2], int(sys.argv[3])
read = IndexedDataset(ours)
bounds = read.document_indices.tolist()
documents = [[token for n in range(a, b) for token in read[n].tolist()] for a, b in zip(bounds, bounds[1:])]
builder = IndexedDatasetBuilder(theirs + ".bin", dtype=DType.optimal_dtype(vocabulary_size))
for ids in documents:
    builder.add_document(torch.tensor(ids, dtype=torch.int64), [len(ids)] if ids else [])
builder.finalize(theirs + ".idx")
print(json.dumps({"dtype": read.index.dtype.__name__, "documents": documents}))
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SentencePieceTokenizer]:
    """A data folder with a tokenizer and shards of functions, one file that does not come back, and an empty one."""
    data = tmp_path_factory.mktemp("data")
    (data / "corpus.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(data / "corpus.txt"),
        model_prefix=str(data / "tokenizer"),
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    tokenizer = SentencePieceTokenizer.from_folder(data)
    write_documents(data, "code", tokenizer, TEXTS)
    write_dialogues(data, tokenizer)
    return data, tokenizer


def contents_of(shards: ShardSet) -> list[tuple[bytes, list[int], bool]]:
    return [
        (shards.document_id(number), shards.ids(number).tolist(), shards.is_exact(number))
        for number in range(shards.num_documents)
    ]


@pytest.mark.parametrize("append_eos", [False, True])
def test_shards_come_back_as_they_were(world, tmp_path: Path, append_eos: bool):
    data, tokenizer = world
    shards = export_shards(data / "shards/code/held_out", tmp_path / "out/pair", tokenizer, append_eos=append_eos)
    back = import_shards(tmp_path / "out/pair", tmp_path / "back", data, workers=1)
    back.verify()
    assert contents_of(back) == contents_of(shards)
    assert back.manifest["removed"] == ({"eos": len(TEXTS) - 1} if append_eos else {})
    same = ("kind", "tokenizer", "vocabulary_size", "documents", "tokens", "source", "longest_document")
    assert {key: back.manifest[key] for key in same} == {key: shards.manifest[key] for key in same}


def test_megatron_reads_what_we_write_and_we_read_what_it_writes(world, tmp_path: Path):
    if find_spec("megatron") is None:
        pytest.skip("needs megatron-core, whose reader is the judge: pip install --no-deps megatron-core")
    data, tokenizer = world
    shards = export_shards(data / "shards/code/held_out", tmp_path / "ours", tokenizer, append_eos=True)
    arguments = (str(tmp_path / "ours"), str(tmp_path / "theirs"), str(tokenizer.vocabulary_size))
    done = subprocess.run([sys.executable, "-c", MEGATRON, *arguments], capture_output=True, text=True, check=True)
    read = json.loads(done.stdout.splitlines()[-1])
    expected = [[*ids, tokenizer.eos_id] if ids else [] for _, ids, _ in contents_of(shards)]
    assert read == {"dtype": "uint16", "documents": expected}
    for suffix in ("bin", "idx"):
        assert (tmp_path / f"theirs.{suffix}").read_bytes() == (tmp_path / f"ours.{suffix}").read_bytes()


def test_a_pair_of_another_tool_is_checked_document_by_document(world, tmp_path: Path):
    """Without the files beside it: names are new and all distinct, exact is what re-encoding says."""
    data, tokenizer = world
    shards = export_shards(data / "shards/code/held_out", tmp_path / "pair", tokenizer, append_eos=True)
    with (tmp_path / "pair.bin").open("r+b") as file:
        file.write(tokenizer.sentinels.prefix.to_bytes(2, "little"))  # no text spells it
    for suffix in ("json", "ids", "exact"):
        (tmp_path / f"pair.{suffix}").unlink()
    back = contents_of(import_shards(tmp_path / "pair", tmp_path / "back", data, workers=2))
    assert [ids for _, ids, _ in back][1:] == [ids for _, ids, _ in contents_of(shards)][1:]
    assert [is_exact for _, _, is_exact in back] == [False] + [True] * (len(TEXTS) - 1)
    assert len({name for name, _, _ in back}) == len(TEXTS)
    again = contents_of(import_shards(tmp_path / "pair", tmp_path / "again", data, workers=1))
    assert again == back


def test_bos_before_documents_goes_too(world, tmp_path: Path):
    data, tokenizer = world
    ids = [tokenizer.bos_id, *tokenizer.encode("x = 1\n"), tokenizer.eos_id]
    tokens = b"".join(token.to_bytes(2, "little") for token in ids)
    index = b"MMIDIDX\0\0" + (1).to_bytes(8, "little") + b"\x08" + (1).to_bytes(8, "little") + (2).to_bytes(8, "little")
    index += len(ids).to_bytes(4, "little") + (0).to_bytes(8, "little") * 2 + (1).to_bytes(8, "little")
    (tmp_path / "p.bin").write_bytes(tokens)
    (tmp_path / "p.idx").write_bytes(index)
    back = import_shards(tmp_path / "p", tmp_path / "back", data, workers=1)
    assert back.ids(0).tolist() == tokenizer.encode("x = 1\n")
    assert back.is_exact(0)
    assert back.manifest["removed"] == {"bos": 1, "eos": 1}


def test_what_does_not_belong_together_is_refused(world, shared_data: Path, tmp_path: Path):
    data, tokenizer = world
    code = data / "shards/code/held_out"
    export_shards(code, tmp_path / "pair", tokenizer, append_eos=False)
    with pytest.raises(UserError, match="exists already"):
        export_shards(code, tmp_path / "pair", tokenizer, append_eos=False)
    with pytest.raises(UserError, match="says that tokenizer"):
        import_shards(tmp_path / "pair", tmp_path / "back", shared_data / "llama2_tokenizer", workers=1)
    with (tmp_path / "pair.bin").open("r+b") as file:
        file.write(b"\xff\xff")
    with pytest.raises(UserError, match="checked anew"):
        import_shards(tmp_path / "pair", tmp_path / "back", data, workers=1)
    (tmp_path / "pair.json").unlink()
    with pytest.raises(UserError, match="document 0 holds the id 65,535"):
        import_shards(tmp_path / "pair", tmp_path / "back", data, workers=1)
    assert not (tmp_path / "back").exists()
    with pytest.raises(UserError, match="exists already"):
        import_shards(tmp_path / "pair", data, data, workers=1)


def test_the_command_goes_both_ways_and_refuses_dialogues_in_one_sentence(world, project: Path, tmp_path: Path):
    data, _ = world

    def convert(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, project / "scripts/convert_shards.py", *arguments, "--tokenizer", str(data)]
        return subprocess.run(program, capture_output=True, text=True, check=False)

    out = convert("to-megatron", str(data / "shards/code/held_out"), str(tmp_path / "pair"), "--append-eod")
    assert out.returncode == 0, out.stderr
    back = convert("from-megatron", str(tmp_path / "pair.idx"), str(tmp_path / "back"))
    assert back.returncode == 0, back.stderr
    assert f"removed the EOS of {len(TEXTS) - 1} documents" in back.stdout
    ShardSet(tmp_path / "back").verify()
    refused = convert("to-megatron", str(data / "shards/dialogues/held_out"), str(tmp_path / "dialogues"))
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "are dialogues" in refused.stderr
