"""The values that a model starts from, one parameter at a time: read from a base's files, or drawn at random.

A model is made without storage and then filled module by module. Whoever keeps but a part of it, as each process does
at ZeRO 3, lets go of the rest of a module before the next one comes, and never holds the whole model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from codellama_train import artifacts
from codellama_train.console import UserError

INDEX_FILE, WEIGHT_FILES = "model.safetensors.index.json", "model*.safetensors"
HEAD = "lm_head"
COMPUTED = "rotary_emb.inv_freq"  # older exports of Llama store what follows from the configuration

# Gives a parameter by its name and shape.
ReadWeight = Callable[[str, Sequence[int]], Tensor]


def fill(
    model: LlamaForCausalLM,
    read: ReadWeight,
    *,
    dtype: torch.dtype,
    device: torch.device,
    after_each: Callable[[nn.Module], object] | None = None,
) -> None:
    """Give the parameters of a model without storage their values; each finished module is handed to `after_each`."""
    llama: Any = model.model
    layers = {f"model.layers.{index}": layer for index, layer in enumerate(llama.layers)}
    modules = {"model.embed_tokens": llama.embed_tokens, **layers, "model.norm": llama.norm, HEAD: model.lm_head}
    for prefix, module in modules.items():
        if prefix == HEAD and model.config.tie_word_embeddings:
            module.weight = llama.embed_tokens.weight
            continue
        for name, empty in list(module.named_parameters()):
            value = read(f"{prefix}.{name}", empty.shape)
            owner, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(owner), leaf, nn.Parameter(value.to(device, dtype, copy=True)))
        if after_each is not None:
            after_each(module)


def random_weights(initializer_range: float, *, seed: int) -> ReadWeight:
    """Draw matrices from a normal distribution and let norms be one, each by its name and the seed alone."""

    def draw(name: str, shape: Sequence[int]) -> Tensor:
        if len(shape) == 1:
            return torch.ones(*shape)
        digest = blake2b(name.encode(), digest_size=8, key=str(seed).encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
        return torch.normal(0.0, initializer_range, tuple(shape), generator=generator)

    return draw


def stored_weights(folder: Path, names: Sequence[str]) -> ReadWeight:
    """Read the weights of a Hugging Face folder; refuses one that does not hold exactly the `names` of its model."""
    files = weight_files(folder)
    missing = sorted(set(names) - files.keys())
    unknown = sorted(name for name in files.keys() - set(names) if not name.endswith((COMPUTED, f"{HEAD}.weight")))
    for found, problem in ((missing, "lack"), (unknown, "hold, beyond what config.json describes,")):
        if found:
            raise UserError(f"the weights at {folder} {problem} {found[0]!r} and {len(found) - 1:,} others")
    opened = cache(open_file)

    def read(name: str, shape: Sequence[int]) -> Tensor:
        weight: Tensor = opened(files[name]).get_tensor(name)
        if weight.shape != torch.Size(shape):
            raise UserError(
                f"the weights at {folder} hold {name!r} of shape {tuple(weight.shape)}; config.json describes "
                f"{tuple(shape)}"
            )
        return weight

    return read


def weight_files(folder: Path) -> dict[str, Path]:
    """Say which file of a model folder holds which weight."""
    index = folder / INDEX_FILE
    if index.is_file():
        return {name: folder / file for name, file in artifacts.read_json(index)["weight_map"].items()}
    paths = sorted(folder.glob(WEIGHT_FILES))
    if not paths:
        raise UserError(
            f"{folder} has no weights in safetensors files ({WEIGHT_FILES}); others are not read: load the model with "
            "transformers and save it with save_pretrained"
        )
    return {name: path for path in paths for name in open_file(path).keys()}  # noqa: SIM118 (it is no mapping)


def open_file(path: Path) -> Any:
    """Open a file of weights; nothing of it is read yet."""
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def with_mean_rows(weight: Tensor, *, size: int, used_rows: int, new_ids: Sequence[int]) -> Tensor:
    """Give an embedding of `size` rows or more, in which rows of `new_ids` are the mean of the first `used_rows`."""
    if not new_ids:
        return weight
    longer = weight.new_zeros(max(size, len(weight)), weight.shape[1])
    longer[: len(weight)] = weight
    longer[list(new_ids)] = weight[:used_rows].mean(dim=0, dtype=torch.float32).to(weight.dtype)
    return longer
