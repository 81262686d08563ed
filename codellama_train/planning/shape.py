"""A Llama's shape and what follows from it: how many weights it has, and how many train. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from codellama_train.console import UserError
from codellama_train.recipe.training import Lora, TrainingRecipe
from codellama_train.tokens.open_tokenizer import open_tokenizer

CONFIG_FILE = "config.json"


@dataclass(frozen=True)
class ModelShape:
    """A Llama's sizes; `tied` says that the output layer is the embedding."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    vocab_size: int
    tied: bool = False

    @property
    def attention_width(self) -> int:
        """Numbers of a token's queries in all heads."""
        return self.num_heads * self.head_size

    @property
    def key_width(self) -> int:
        """Numbers of a token's keys, or of its values, in all heads that have their own."""
        return self.num_kv_heads * self.head_size

    @property
    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """The matrices of one layer by their names in transformers: how many numbers go in and come out."""
        hidden, wide = self.hidden_size, self.intermediate_size
        return {
            "q_proj": (hidden, self.attention_width),
            "k_proj": (hidden, self.key_width),
            "v_proj": (hidden, self.key_width),
            "o_proj": (self.attention_width, hidden),
            "gate_proj": (hidden, wide),
            "up_proj": (hidden, wide),
            "down_proj": (wide, hidden),
        }

    @property
    def layer_matrices(self) -> int:
        """Weights of one layer's matrices."""
        return sum(inputs * outputs for inputs, outputs in self.linear_layers.values())

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding, and as many of the output layer."""
        return self.vocab_size * self.hidden_size

    @property
    def matrix_parameters(self) -> int:
        """Weights of all matrices, embeddings included."""
        return self.embedding_parameters * (1 if self.tied else 2) + self.num_layers * self.layer_matrices

    @property
    def norm_parameters(self) -> int:
        """Weights of the norms: two in each layer, one at the end."""
        return (2 * self.num_layers + 1) * self.hidden_size

    @property
    def num_parameters(self) -> int:
        """All weights of the plain model."""
        return self.matrix_parameters + self.norm_parameters


def shape_of(recipe: TrainingRecipe, ancestors: Sequence[TrainingRecipe] = ()) -> ModelShape:
    """Give a recipe's shape: as it states it, as its base's folder does, or as the recipe does that makes its base.

    `ancestors` come nearest first.
    """
    origin = recipe.model.init_from
    rows_of_tokenizer = local_vocabulary_size(recipe)
    if recipe.model.architecture is not None:
        sizes = recipe.model.architecture.model_dump()
        base = {} if origin is None else base_config(Path(origin))
        rows = sizes["vocab_size"] or max_known(rows_of_tokenizer, base.get("vocab_size"))
        if rows is None and ancestors:
            rows = shape_of(ancestors[0], ancestors[1:]).vocab_size
        sizes["tie_word_embeddings"] = base.get("tie_word_embeddings", False)
        return shape_of_config({**sizes, "vocab_size": require_rows(rows, recipe)})
    if config := base_config(Path(str(origin))):
        shape = shape_of_config(config)
    elif ancestors:
        shape = shape_of(ancestors[0], ancestors[1:])
    else:
        raise UserError(
            f"model.init_from={origin!r} is no folder here, so the shape of the model is not known: state it in "
            "[model.architecture] beside init_from, or download the model and name its folder"
        )
    return replace(shape, vocab_size=max(shape.vocab_size, rows_of_tokenizer or 0))


def shape_of_config(config: dict[str, Any]) -> ModelShape:
    """Read a shape from what a Llama's config.json says."""
    heads = config["num_attention_heads"]
    return ModelShape(
        hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=heads,
        num_kv_heads=config.get("num_key_value_heads") or heads,
        head_size=config.get("head_dim") or config["hidden_size"] // heads,
        vocab_size=config["vocab_size"],
        tied=config.get("tie_word_embeddings", False),
    )


def base_config(folder: Path) -> dict[str, Any]:
    """Read the config.json of a base's folder; empty where there is none here."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        return {}
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}; download the model again") from error
    if config.get("model_type") != "llama":
        raise UserError(f"model.init_from={str(folder)!r} is a {config.get('model_type')!r} model, not a Llama model")
    return config


def local_vocabulary_size(recipe: TrainingRecipe) -> int | None:
    """Count the ids of a recipe's tokenizer; None where its files are not here."""
    named = recipe.model.tokenizer or recipe.model.init_from
    try:
        return open_tokenizer(Path(str(named))).vocabulary_size if Path(str(named)).exists() else None
    except UserError:  # a base without a tokenizer: training will say so
        return None


def max_known(*values: int | None) -> int | None:
    """Give the largest of the values that are known; None where none is."""
    return max((value for value in values if value is not None), default=None)


def require_rows(rows: int | None, recipe: TrainingRecipe) -> int:
    """Refuse a shape whose vocabulary nobody knows."""
    if rows is None:
        raise UserError(
            f"model.tokenizer={recipe.model.tokenizer!r} is not here, so the rows of the embedding are not known: "
            "state vocab_size in [model.architecture] (32_016 is Llama 2's with the infilling tokens), or make the "
            "tokenizer first"
        )
    return rows


def trained_parameters(recipe: TrainingRecipe, shape: ModelShape) -> int:
    """Count the weights that train: all, or with LoRA those of the adapters and of the rows of new tokens."""
    if recipe.lora is None:
        return shape.num_parameters
    rows = new_rows(recipe, shape) * shape.hidden_size * (1 if shape.tied else 2)
    return shape.num_layers * adapter_parameters(recipe.lora, shape) + rows


def adapter_parameters(lora: Lora, shape: ModelShape) -> int:
    """Count the adapters' weights in one layer: two thin matrices each, and with DoRA the lengths of the rows."""
    return sum(
        lora.rank * (inputs + outputs) + (outputs if lora.use_dora else 0)
        for inputs, outputs in adapted_layers(lora, shape).values()
    )


def adapted_layers(lora: Lora, shape: ModelShape) -> dict[str, tuple[int, int]]:
    """Give those matrices of a layer that have adapters; refuses names that no matrix has."""
    for target in lora.target_modules:
        if target not in shape.linear_layers:
            raise UserError(
                f"lora.target_modules names {target!r}, which is no matrix of a Llama's layer; it has "
                f"{', '.join(shape.linear_layers)}"
            )
    return {name: sizes for name, sizes in shape.linear_layers.items() if name in lora.target_modules}


def new_rows(recipe: TrainingRecipe, shape: ModelShape) -> int:
    """Count the embedding's rows that the base does not have; none where the base's folder is not here to say."""
    config = base_config(Path(recipe.model.init_from)) if recipe.model.init_from else {}
    base_rows: int = config.get("vocab_size", shape.vocab_size)
    return max(shape.vocab_size - base_rows, 0)
