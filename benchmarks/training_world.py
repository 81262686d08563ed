"""A world to train in that needs no download: a tokenizer of made-up pieces, shards of random documents, a recipe."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sentencepiece import sentencepiece_model_pb2

from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from codellama_train.tokens.shards import DOCUMENT_ID_BYTES, ShardWriter, TokenizedDocument

NUM_PIECES = 32_000  # as Llama 2's; with the infilling pieces 32,016
NORMAL, UNKNOWN, CONTROL, BYTE, BPE = 1, 2, 3, 6, 2  # SentencePiece's
NUM_SPECIAL = 3 + 256
MEDIAN_TOKENS, LOG_SPREAD = 1_100, 1.2  # of a log-normal law: a mean of 2,260
LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Shape:
    """A Llama's sizes; a head has 64 or 128 numbers, as is usual."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int


@dataclass(frozen=True)
class Case:
    """One training to be measured.

    `lora_rank` None trains all weights; `offload` keeps the optimizer in main memory; `kernels` and `compile` are the
    recipe's.
    """

    shape: Shape
    sequence_length: int
    sequences_per_device: int
    accumulation: int
    steps: int
    zero_stage: int = 1
    activation_checkpointing: bool = False
    lora_rank: int | None = None
    offload: bool = False
    kernels: str | None = None
    compile: bool = False

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimizer step on one device."""
        return self.sequence_length * self.sequences_per_device * self.accumulation


def write_world(folder: Path, *, num_tokens: int) -> None:
    """Write a tokenizer and shards of about so many tokens, whose ids follow Zipf's law so there is a bit to learn."""
    tokenizer = SentencePieceTokenizer(made_up_model())
    tokenizer.save(folder / "tokenizer")
    generator = np.random.default_rng(7)
    likelihood = 1 / np.arange(10, 10 + NUM_PIECES - NUM_SPECIAL)
    ids = generator.choice(np.arange(NUM_SPECIAL, NUM_PIECES), num_tokens, p=likelihood / likelihood.sum())
    with ShardWriter(
        folder / "shards",
        kind="documents",
        tokenizer_fingerprint=tokenizer.fingerprint,
        vocabulary_size=tokenizer.vocabulary_size,
        facts={"source": "random"},
    ) as writer:
        start = 0
        while start < num_tokens:
            length = int(np.exp(generator.normal(np.log(MEDIAN_TOKENS), LOG_SPREAD)))
            name = start.to_bytes(DOCUMENT_ID_BYTES, "big")
            writer.add(TokenizedDocument(name, ids[start : start + length], is_exact=False))
            start += length


def made_up_model() -> bytes:
    """Give a SentencePiece model of Llama's kind and size whose pieces are letters, pairs, triples, …"""
    model = sentencepiece_model_pb2.ModelProto()
    model.trainer_spec.model_type = BPE
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.remove_extra_whitespaces = False
    model.pieces.add(piece="<unk>", score=0, type=UNKNOWN)
    for name in ("<s>", "</s>"):
        model.pieces.add(piece=name, score=0, type=CONTROL)
    for value in range(256):
        model.pieces.add(piece=f"<0x{value:02X}>", score=0, type=BYTE)
    letters = "▁abcdefghijklmnopqrstuvwxyz"
    words = (word for length in range(1, 5) for word in itertools.product(letters, repeat=length))
    for number, word in enumerate(itertools.islice(words, NUM_PIECES - NUM_SPECIAL)):
        model.pieces.add(piece="".join(word), score=-number, type=NORMAL)
    serialized: bytes = model.SerializeToString()
    return serialized


def load_recipe(folder: Path, name: str, case: Case) -> TrainingRecipe:
    """Write a case as a recipe file, as a person would, and load it. Its rate of learning is constant."""
    path = folder / f"{name}.toml"
    path.write_text(RECIPE.format(folder=folder, **recipe_values(case)) + optional_tables(case), encoding="utf-8")
    return load(TrainingRecipe, path)


def recipe_values(case: Case) -> dict[str, object]:
    """Name what a recipe needs to know of a case."""
    return {
        **vars(case.shape),
        "sequence_length": case.sequence_length,
        "tokens_per_step": case.tokens_per_step,
        "total_tokens": case.tokens_per_step * case.steps,
        "peak_learning_rate": 3e-4 if case.lora_rank is None else 2e-4,
        "zero_stage": case.zero_stage,
        "sequences_per_device": case.sequences_per_device,
        "activation_checkpointing": str(case.activation_checkpointing).lower(),
        "save_every_steps": case.steps + 1,
    }


def optional_tables(case: Case) -> str:
    """Write the tables that only some cases have."""
    text = f'kernels = "{case.kernels}"\n' if case.kernels else ""
    text += "compile = true\n" if case.compile else ""
    text += '[machine.offload]\noptimizer = "cpu"\n' if case.offload else ""
    if case.lora_rank is not None:
        text += f"[lora]\nrank = {case.lora_rank}\nalpha = {2 * case.lora_rank}\n"
        text += f"target_modules = {list(LINEAR_LAYERS)}\n"
    return text


RECIPE = """
runs = "{folder}/runs"
[model]
tokenizer = "{folder}/tokenizer"
rope_theta = 10_000.0
[model.architecture]
hidden_size = {hidden_size}
intermediate_size = {intermediate_size}
num_hidden_layers = {num_hidden_layers}
num_attention_heads = {num_attention_heads}
num_key_value_heads = {num_attention_heads}
initializer_range = 0.02
[data]
sequence_length = {sequence_length}
seed = 1
[data.sources.random]
shards = "{folder}/shards"
share = 1.0
[batch]
tokens_per_step = {tokens_per_step}
total_tokens = {total_tokens}
[optimizer]
peak_learning_rate = {peak_learning_rate}
final_learning_rate_fraction = 1.0
warmup_steps = 0
betas = [0.9, 0.95]
epsilon = 1e-8
weight_decay = 0.1
gradient_clipping = 1.0
[machine]
zero_stage = {zero_stage}
sequences_per_device = {sequences_per_device}
activation_checkpointing = {activation_checkpointing}
log_every_steps = 1
save_every_steps = {save_every_steps}
keep_checkpoints = 1
"""
