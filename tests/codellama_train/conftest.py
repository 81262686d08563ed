"""A small world to evaluate in: a tokenizer, models and held-out shards, made in seconds."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
from small_data import function_text, prose, write_dialogues, write_documents
from transformers import LlamaConfig, LlamaForCausalLM

from codellama_train import artifacts
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> SentencePieceTokenizer:
    """A SentencePiece BPE model with Llama's settings, trained on functions and prose."""
    folder = tmp_path_factory.mktemp("tokenizer")
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(function_text(number) + prose(number) for number in range(200)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=420,
        model_type="bpe",
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        minloglevel=2,
    )
    return SentencePieceTokenizer.from_folder(folder)


def write_model(folder: Path, tokenizer: SentencePieceTokenizer, *, seed: int, trained_length: int = 64) -> Path:
    """Write a random Llama whose next tokens are far from equally likely, so that greedy choices are clear."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=trained_length,
        initializer_range=0.3,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save(folder)
    artifacts.write_manifest(folder, {"kind": "model"})
    return folder


@pytest.fixture(scope="session")
def save_model() -> Callable[..., Path]:
    """Write random models: `save_model(folder, tokenizer, seed=…, trained_length=…)`."""
    return write_model


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory, tokenizer: SentencePieceTokenizer) -> Path:
    """A random model's folder."""
    return write_model(tmp_path_factory.mktemp("model") / "random", tokenizer, seed=1)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: SentencePieceTokenizer) -> Path:
    """A data folder with held-out shards of functions, long files, prose and dialogues."""
    data = tmp_path_factory.mktemp("data") / "tiny"
    files = ["\n".join(function_text(number) for number in range(start, start + 12)) for start in range(0, 60, 12)]
    write_documents(data, "code", tokenizer, [function_text(number) for number in range(40)])
    write_documents(data, "code_files", tokenizer, files)
    write_documents(data, "language", tokenizer, [prose(number) for number in range(10)])
    write_dialogues(data, tokenizer)
    return data


@pytest.fixture(scope="session")
def training_data(tmp_path_factory: pytest.TempPathFactory, tokenizer: SentencePieceTokenizer) -> Path:
    """A data folder with a tokenizer and shards of functions and prose to train on."""
    data = tmp_path_factory.mktemp("training") / "tiny"
    tokenizer.save(data / "tokenizer")
    write_documents(data, "code", tokenizer, [function_text(number) for number in range(200)], split="train")
    write_documents(data, "language", tokenizer, [prose(number) for number in range(100)], split="train")
    return data


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small file system: `mount_disk("1100k")`."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        folder = tmp_path / f"disk-{size}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting a small disk is not permitted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def stories_path(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """The real stories260K model as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("stories") / "model"
    convert_stories(shared_data / "stories260k", folder)
    return folder


def convert_stories(source: Path, folder: Path) -> None:
    """Convert a llama2.c checkpoint: its RoPE pairs neighbours, transformers' pairs halves."""
    raw = (source / "stories260K.bin").read_bytes()
    dim, hidden, layers, heads, kv_heads, vocabulary, length = np.frombuffer(raw, "<i4", 7).tolist()
    tokenizer = SentencePieceTokenizer((source / "tok512.model").read_bytes())
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=dim,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=length,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    weights = torch.from_numpy(np.frombuffer(raw, "<f4", offset=28).copy())
    size = dim // heads
    shapes = {
        "self_attn.q_proj": (heads * size, dim),
        "self_attn.k_proj": (kv_heads * size, dim),
        "self_attn.v_proj": (kv_heads * size, dim),
        "self_attn.o_proj": (dim, heads * size),
        "post_attention_layernorm": (dim,),
        "mlp.gate_proj": (hidden, dim),
        "mlp.down_proj": (dim, hidden),
        "mlp.up_proj": (hidden, dim),
    }
    state = {}
    offset = 0

    def take(*shape: int) -> torch.Tensor:
        nonlocal offset
        count = int(np.prod(shape))
        offset += count
        return weights[offset - count : offset].view(*shape)

    state["model.embed_tokens.weight"] = take(vocabulary, dim)
    norms = take(layers, dim)
    for layer in range(layers):
        state[f"model.layers.{layer}.input_layernorm.weight"] = norms[layer]
    for name, shape in shapes.items():
        for layer, weight in enumerate(take(layers, *shape)):
            if name in ("self_attn.q_proj", "self_attn.k_proj"):
                weight = weight.view(-1, size // 2, 2, dim).transpose(1, 2).reshape(shape)
            state[f"model.layers.{layer}.{name}.weight"] = weight
    state["model.norm.weight"] = take(dim)
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    model.resize_token_embeddings(tokenizer.vocabulary_size, mean_resizing=False)
    with torch.no_grad():
        model.model.embed_tokens.weight[vocabulary:] = 0
    model.save_pretrained(folder)
    tokenizer.save(folder)
