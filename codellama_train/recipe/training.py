"""The training recipe: every number of one training stage, and what follows from them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from codellama_train.console import UserError
from codellama_train.recipe.loading import Positive, RecipeTable
from codellama_train.recipe.machine import Machine

Fraction = Annotated[float, Field(gt=0, le=1)]

MOST_PADDED_ROWS = 0.10


class Architecture(RecipeTable):
    """The shape of a model; names are those of transformers' Llama configuration.

    It is what random weights are made in, or what the base must have. `vocab_size` is the number of embedding rows;
    None means a row for every id of the tokenizer, infilling tokens included.
    """

    hidden_size: Positive
    intermediate_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive
    vocab_size: Positive | None = None
    initializer_range: Annotated[float, Field(gt=0)] | None = None  # of random weights alone

    @model_validator(mode="after")
    def _heads_divide(self) -> Architecture:
        if self.hidden_size % self.num_attention_heads or self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"model.architecture: hidden_size={self.hidden_size} must be a multiple of num_attention_heads="
                f"{self.num_attention_heads}, and that of num_key_value_heads={self.num_key_value_heads}"
            )
        return self


class Model(RecipeTable):
    """What training starts from: a Hugging Face folder or hub name, or an architecture with random weights.

    An architecture beside `init_from` says what shape the base has, so that plans need none of its files.
    """

    init_from: str | None = None
    architecture: Architecture | None = None
    tokenizer: str | None = None  # a folder; by default the one that comes with init_from
    rope_theta: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _one_origin(self) -> Model:
        if self.init_from is not None:
            return self
        if self.architecture is None:
            raise ValueError("model needs init_from (a model folder or hub name) or [model.architecture]")
        if self.architecture.initializer_range is None:
            raise ValueError(
                "model.architecture.initializer_range is missing: without model.init_from, weights are random"
            )
        if not self.tokenizer:
            raise ValueError("model.tokenizer is missing: a model from random weights must be told its tokenizer")
        return self

    @model_validator(mode="after")
    def _base_has_its_own_weights(self) -> Model:
        if self.init_from and self.architecture and self.architecture.initializer_range is not None:
            raise ValueError(
                f"model.architecture.initializer_range={self.architecture.initializer_range:g} is used by nothing: the "
                f"weights are those of model.init_from={self.init_from!r}; remove the key"
            )
        return self


class Infilling(RecipeTable):
    """The infilling transform (section 2.3); the table's absence means that every document stays in order."""

    rate: Fraction


class BestFit(RecipeTable):
    """Best-fit packing over windows of so many documents; the table's absence means the paper's concatenation."""

    window_documents: Positive


class Source(RecipeTable):
    """One source of the mixture."""

    shards: Path
    share: Fraction  # of tokens
    infilling_rate: Annotated[float, Field(ge=0, le=1)] | None = None  # None means that of [data.infilling]

    model_config = RecipeTable.model_config | {"strict": False}  # paths come as text


class Data(RecipeTable):
    """The mixture and how sequences are cut from it."""

    sequence_length: Positive
    seed: Annotated[int, Field(ge=0)]
    sources: Annotated[dict[str, Source], Field(min_length=1)]
    infilling: Infilling | None = None
    best_fit: BestFit | None = None
    document_mask: bool = False  # whether documents of a sequence are hidden from each other, positions restarting

    @model_validator(mode="after")
    def _rates_have_a_table(self) -> Data:
        for name, source in self.sources.items():
            if source.infilling_rate is not None and self.infilling is None:
                raise ValueError(
                    f"data.sources.{name}.infilling_rate={source.infilling_rate:g} needs [data.infilling], which says "
                    "that the model learns to infill; add the table or remove the key"
                )
        return self

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> Data:
        total = sum(source.share for source in self.sources.values())
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"data.sources: the shares sum to {total:g}; they are shares of tokens and must sum to 1")
        return self


class Batch(RecipeTable):
    """Tokens per optimizer step, and in all."""

    tokens_per_step: Positive
    total_tokens: Positive


class Optimizer(RecipeTable):
    """AdamW with linear warm-up and cosine decay."""

    peak_learning_rate: Annotated[float, Field(gt=0)]
    final_learning_rate_fraction: Annotated[float, Field(ge=0, le=1)]
    warmup_steps: Annotated[int, Field(ge=0)]
    warmup_start_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    betas: tuple[float, float]
    epsilon: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    gradient_clipping: Annotated[float, Field(gt=0)]

    model_config = RecipeTable.model_config | {"strict": False}  # TOML has lists, not tuples


class Lora(RecipeTable):
    """Low-rank adapters on the named linear layers; other weights stay as they are, but for rows of new tokens.

    The adapters' product is scaled by alpha / rank, with rsLoRA by alpha / √rank; DoRA also trains the length of each
    row of the adapted weights. Quantised, the base's layers take four bits a weight (QLoRA).
    """

    rank: Positive
    alpha: Positive
    target_modules: Annotated[list[str], Field(min_length=1)]
    use_rslora: bool = False
    use_dora: bool = False
    quantization: Literal["nf4"] | None = None  # of the frozen base; None keeps it as it is


class Validation(RecipeTable):
    """Loss on held-out shards while training; it decides nothing about the weights, so it may change at any resume.

    `shards` names folders by source; so many sequences of each are measured, always the same ones.
    """

    every_steps: Positive
    sequences_per_source: Positive
    shards: Annotated[dict[str, Path], Field(min_length=1)]

    model_config = RecipeTable.model_config | {"strict": False}  # paths come as text


class TrainingRecipe(RecipeTable):
    """One training stage, complete: loaded by `load`, frozen, every number either given or derived here."""

    name: str
    runs: str = "runs"
    model: Model
    data: Data
    batch: Batch
    optimizer: Optimizer
    lora: Lora | None = None
    validation: Validation | None = None
    machine: Machine

    @model_validator(mode="after")
    def _derived_numbers_exist(self) -> TrainingRecipe:
        if self.optimizer.warmup_steps >= self.steps:
            raise ValueError(
                f"optimizer.warmup_steps={self.optimizer.warmup_steps:,} must be below the {self.steps:,} steps that "
                f"batch.total_tokens={self.batch.total_tokens:,} gives"
            )
        return self

    @model_validator(mode="after")
    def _quantized_base_is_whole(self) -> TrainingRecipe:
        if self.lora and self.lora.quantization and self.machine.zero_stage == 3:
            raise ValueError(
                f"lora.quantization={self.lora.quantization!r} needs machine.zero_stage 1 or 2: ZeRO 3 cuts up weights "
                "that four bits do not let it put together again"
            )
        return self

    @model_validator(mode="after")
    def _slices_are_equal(self) -> TrainingRecipe:
        if self.data.sequence_length % self.machine.sequence_parallel:
            raise ValueError(
                f"machine.sequence_parallel={self.machine.sequence_parallel} does not divide data.sequence_length="
                f"{self.data.sequence_length:,}, of which each device takes an equal slice"
            )
        return self

    @property
    def run_dir(self) -> Path:
        """The folder that holds all this recipe produces."""
        return Path(self.runs) / self.name

    @property
    def sequences_per_step(self) -> int:
        """Rows of the global batch, which are the lanes of the data order."""
        sequences, remainder = divmod(self.batch.tokens_per_step, self.data.sequence_length)
        if remainder or not sequences:
            nearest = max(sequences, 1) * self.data.sequence_length
            raise ValueError(
                f"batch.tokens_per_step={self.batch.tokens_per_step:,} is not a multiple of data.sequence_length="
                f"{self.data.sequence_length:,}; the nearest is {nearest:,}"
            )
        return sequences

    @property
    def steps(self) -> int:
        """Optimizer updates: the recipe's tokens in whole steps, to the nearest."""
        _ = self.sequences_per_step
        steps = round(self.batch.total_tokens / self.batch.tokens_per_step)
        if not steps:
            raise ValueError(
                f"batch.total_tokens={self.batch.total_tokens:,} is less than half a step of batch.tokens_per_step="
                f"{self.batch.tokens_per_step:,}"
            )
        return steps


def sequence_groups(num_ranks: int, sequence_parallel: int) -> int:
    """Count the groups of devices that share sequences, so many devices in each."""
    groups, remainder = divmod(num_ranks, sequence_parallel)
    if remainder or not groups:
        raise UserError(
            f"machine.sequence_parallel={sequence_parallel} does not divide the number of devices, {num_ranks}, which "
            "share sequences in groups of that many; use a divisor, or another number of devices"
        )
    return groups


def sequences_per_rank(sequences_per_step: int, num_ranks: int) -> int:
    """Rows each rank runs in a step; ranks that do not divide the batch run rows without predicted tokens."""
    rows = -(-sequences_per_step // num_ranks)
    wasted = 1 - sequences_per_step / (rows * num_ranks)
    if wasted > MOST_PADDED_ROWS:
        raise UserError(
            f"{num_ranks} devices do not divide the {sequences_per_step:,} sequences of a step: {wasted:.0%} of the "
            f"rows would be padding (at most {MOST_PADDED_ROWS:.0%}); use a number of devices that divides "
            f"{sequences_per_step:,}, where those that share sequences count as one"
        )
    return rows
