"""Build the model a recipe names: load or initialise, add rows for new tokens, set and assert the RoPE base."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from pydantic import ValidationError
from torch import Tensor, nn
from transformers import AutoConfig, GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.utils import GENERATION_CONFIG_NAME
from transformers.utils.logging import disable_progress_bar

from codellama_train.console import UserError
from codellama_train.loss import LossHead
from codellama_train.recipe.training import Model, TrainingRecipe
from codellama_train.tokens.byte_level_file import TOKENIZER_FILE, TokenizerFile
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.tokenizer import Tokenizer
from codellama_train.weights import HEAD, ReadWeight, fill, random_weights, stored_weights, with_mean_rows

logger = logging.getLogger(__name__)
disable_progress_bar()

CPU = torch.device("cpu")
EMBEDDINGS = ("model.embed_tokens.weight", f"{HEAD}.weight")

FIXED_SCALINGS = ("linear", "llama3")  # DeepSeek-Coder's and Llama 3.1's; others depend on the sequence

# How far a base's embedding rows may be from its tokenizer's ids: Megatron pads to a multiple of 128, DeepSeek-Coder
# has 0.7 % more rows, Phi-2 1.8 %; Mistral's first two vocabularies, not to be mixed up, are 2.3 % apart.
PADDED_ROWS, PADDED_FRACTION = 127, 0.02

NEEDED_FILES = ["*.model", "*.json", "*.safetensors"]
UNNEEDED_FILES = ["*/*", "consolidated*"]  # the same weights once more, in the authors' own layout


def build_model(
    recipe: TrainingRecipe,
    tokenizer: Tokenizer,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device = CPU,
    after_each: Callable[[nn.Module], object] | None = None,
) -> LlamaForCausalLM:
    """Give the model that the recipe starts from, ready to train.

    Each module that has its values is handed to `after_each` before the next one gets them.
    """
    model = empty_model(recipe, tokenizer)
    fill(model, starting_weights(recipe, model, tokenizer), dtype=dtype, device=device, after_each=after_each)
    model.to(device)  # what is no parameter
    assert_rope_theta(model, recipe.model.rope_theta)
    return model


def empty_model(recipe: TrainingRecipe, tokenizer: Tokenizer) -> LlamaForCausalLM:
    """Give the recipe's model without storage for its parameters, with a row for every id of its tokenizer."""
    origin = recipe.model.init_from and fetch_origin(recipe.model.init_from)
    config = _config_of_base(recipe, origin) if origin else _config_of_architecture(recipe)
    if origin:
        require_matching_rows("the base", rows=config.vocab_size, vocabulary_size=tokenizer.vocabulary_size)
    config.vocab_size = rows_of_model(recipe.model, base_rows=config.vocab_size if origin else 0, tokenizer=tokenizer)
    config.bos_token_id, config.eos_token_id, config.pad_token_id = tokenizer.bos_id, tokenizer.eos_id, None
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    model.lm_head = LossHead(model.lm_head)
    if origin and (origin / GENERATION_CONFIG_NAME).is_file():
        model.generation_config = GenerationConfig.from_pretrained(origin)
    return model


def _config_of_architecture(recipe: TrainingRecipe) -> LlamaConfig:
    architecture = recipe.model.architecture
    assert architecture is not None, "a recipe has init_from or an architecture"
    return LlamaConfig(
        **architecture.model_dump(exclude={"vocab_size"}),
        max_position_embeddings=recipe.data.sequence_length,
        rms_norm_eps=1e-5,  # Llama 2
        rope_parameters={"rope_type": "default", "rope_theta": recipe.model.rope_theta},
        tie_word_embeddings=False,
    )


def _config_of_base(recipe: TrainingRecipe, origin: Path) -> Any:
    config = AutoConfig.from_pretrained(origin)
    if config.model_type != "llama":
        raise UserError(
            f"model.init_from={str(origin)!r} is a {config.model_type!r} model; the recipe trains Llama models"
        )
    require_shape(config, recipe.model)
    require_rotary_scaling(config, origin)
    require_reach(config, recipe.model, sequence_length=recipe.data.sequence_length)
    theta = config.rope_parameters["rope_theta"]
    if theta != recipe.model.rope_theta:
        logger.warning("model.rope_theta=%g replaces the base's %g", recipe.model.rope_theta, theta)
    config.rope_parameters = {**config.rope_parameters, "rope_theta": recipe.model.rope_theta}
    config.max_position_embeddings = max(config.max_position_embeddings, recipe.data.sequence_length)
    return config


def starting_weights(recipe: TrainingRecipe, model: LlamaForCausalLM, tokenizer: Tokenizer) -> ReadWeight:
    """Give the values of an empty model's parameters: random ones, or the base's with rows for new tokens."""
    if recipe.model.init_from is None:
        return random_weights(model.config.initializer_range, seed=recipe.data.seed)
    origin = fetch_origin(recipe.model.init_from)
    base = AutoConfig.from_pretrained(origin)
    head = () if base.tie_word_embeddings else (f"{HEAD}.weight",)
    read = stored_weights(origin, [name for name, _ in model.named_parameters() if not name.startswith(HEAD)] + [*head])
    used_rows = named_ids(origin)

    def read_with_rows(name: str, shape: Sequence[int]) -> Tensor:
        if name not in EMBEDDINGS:
            return read(name, shape)
        weight = read(name, (base.vocab_size, shape[1]))
        return with_new_rows(weight, tokenizer, used_rows=used_rows)

    return read_with_rows


def require_shape(config: Any, model: Model) -> None:
    """Refuse a base of another shape than the recipe says; its rows are another matter."""
    stated = model.architecture.model_dump(exclude={"vocab_size", "initializer_range"}) if model.architecture else {}
    for key, value in stated.items():
        if getattr(config, key) != value:
            raise UserError(
                f"model.architecture.{key}={value:,}, but the base {model.init_from} has {getattr(config, key):,}; "
                "name the base that the recipe is for, or correct the key"
            )


def rows_of_model(model: Model, *, base_rows: int, tokenizer: Tokenizer) -> int:
    """Count the embedding's rows: the base's, and one for every id; refuses another number than the recipe says."""
    stated = model.architecture and model.architecture.vocab_size
    rows = max(base_rows, tokenizer.vocabulary_size)
    if stated and model.init_from is None:
        return max(rows, stated)
    if stated and rows != stated:
        raise UserError(
            f"model.architecture.vocab_size={stated:,}, but the base {model.init_from} has {base_rows:,} embedding "
            f"rows and its tokenizer, as the recipe uses it, {tokenizer.vocabulary_size:,} ids, which makes {rows:,}; "
            "correct the key, or remove it to have a row for every id"
        )
    return rows


def require_rotary_scaling(config: Any, origin: Path) -> None:
    """Refuse a base whose RoPE frequencies are scaled in a way that cannot be kept while training."""
    kind = config.rope_parameters["rope_type"]
    if kind not in ("default", *FIXED_SCALINGS):
        raise UserError(
            f"model.init_from={str(origin)!r} scales RoPE by {kind!r}; a base has plain frequencies or a fixed scaling "
            f"({', '.join(FIXED_SCALINGS)})"
        )


def require_reach(config: Any, model: Model, *, sequence_length: int) -> None:
    """Refuse sequences beyond the positions a base was trained for, unless the RoPE base is raised (section 2.4)."""
    trained, theta = config.max_position_embeddings, config.rope_parameters["rope_theta"]
    if sequence_length > trained and model.rope_theta <= theta:
        raise UserError(
            f"data.sequence_length={sequence_length:,} is beyond the {trained:,} positions that {model.init_from} was "
            f"trained for; shorten it, or raise model.rope_theta above {theta:,.0f} as the long_context recipes do"
        )


def load_tokenizer(model: Model) -> Tokenizer:
    """Read the recipe's tokenizer: the one it names, or the one that comes with the model it starts from.

    Where the recipe counts the model's rows, infilling tokens that have none are left out.
    """
    folder = Path(model.tokenizer) if model.tokenizer else fetch_origin(str(model.init_from))
    return open_tokenizer(folder, num_rows=model.architecture.vocab_size if model.architecture else None)


def add_rows(model: LlamaForCausalLM, tokenizer: Tokenizer, *, used_rows: int | None) -> None:
    """Give both embeddings of a whole model a row for every id of its tokenizer.

    `used_rows` counts the ids that the base's own files name, None if they do not say. A base may be padded: rows
    beyond all ids stay as they are.
    """
    embeddings = (model.get_input_embeddings(), model.get_output_embeddings())
    old = embeddings[0].weight
    require_matching_rows("the base", rows=len(old), vocabulary_size=tokenizer.vocabulary_size)
    extended = {
        id(layer.weight): nn.Parameter(with_new_rows(layer.weight.detach(), tokenizer, used_rows=used_rows))
        for layer in embeddings
    }
    for layer in embeddings:
        layer.weight = extended[id(layer.weight)]
    model.config.vocab_size = len(embeddings[0].weight)


def with_new_rows(weight: Tensor, tokenizer: Tokenizer, *, used_rows: int | None) -> Tensor:
    """Give a base's embedding with a row for every id; new ones start as the mean of its used rows."""
    rows = len(weight)
    used = rows if used_rows is None else min(used_rows, rows)
    ids = new_ids(tokenizer, rows=rows, used_rows=used_rows)
    return with_mean_rows(weight, size=tokenizer.vocabulary_size, used_rows=used, new_ids=ids)


def new_ids(tokenizer: Tokenizer, *, rows: int, used_rows: int | None) -> list[int]:
    """List the ids whose rows a base of so many rows, so many of them used, does not have or has never trained."""
    used = rows if used_rows is None else min(used_rows, rows)
    return sorted({*range(used, num_ids(tokenizer)), *range(rows, tokenizer.vocabulary_size)})


def ids_new_to_the_base(model: Model, tokenizer: Tokenizer) -> list[int]:
    """List the ids whose rows `build_model` made; none where the model starts from random weights altogether."""
    if model.init_from is None:
        return []
    origin = fetch_origin(model.init_from)
    rows = AutoConfig.from_pretrained(origin).vocab_size
    return new_ids(tokenizer, rows=rows, used_rows=named_ids(origin))


def require_matching_rows(what: str, *, rows: int, vocabulary_size: int) -> None:
    """Refuse a tokenizer that cannot be a model's own: bases have more rows than ids, but only by so many."""
    most = max(PADDED_ROWS, int(PADDED_FRACTION * rows))
    if abs(rows - vocabulary_size) > most:
        raise UserError(
            f"{what} has {rows:,} embedding rows, but its tokenizer {vocabulary_size:,} ids; more than {most:,} apart, "
            "they do not belong together: name the tokenizer that came with the model"
        )


def num_ids(tokenizer: Tokenizer) -> int:
    """Count a tokenizer's ids without the padding after them."""
    return sum(tokenizer.piece(token_id) is not None for token_id in range(tokenizer.vocabulary_size))


def named_ids(origin: Path) -> int | None:
    """Count the ids that a model folder's `tokenizer.json` names, also beside a `tokenizer.model`; None without one.

    Where the folder is an export of ours, the infilling tokens are among them.
    """
    path = origin / TOKENIZER_FILE
    try:
        file = TokenizerFile.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return 1 + max([*file.model.vocab.values(), *(token.id for token in file.added_tokens)], default=-1)


def rotary_modules(model: nn.Module) -> list[Any]:
    """Find the modules that hold RoPE frequencies."""
    return [module for module in model.modules() if hasattr(module, "original_inv_freq")]


def expected_frequencies(config: Any) -> Tensor:
    """Compute θ_i = theta^(-2i/d), d the head's size (section 2.4), scaled as the base's are. Shape: (d / 2,)."""
    if config.rope_parameters.get("rope_type", "default") in FIXED_SCALINGS:
        scaled: Tensor = ROPE_INIT_FUNCTIONS[config.rope_parameters["rope_type"]](config)[0]
        return scaled
    dimension = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    exponents = torch.arange(0, dimension, 2, dtype=torch.float64) / dimension
    return torch.as_tensor(config.rope_parameters["rope_theta"], dtype=torch.float64).pow(-exponents).float()


def restore_rotary_precision(model: nn.Module, config: Any) -> None:
    """Put RoPE frequencies back to float32 after a cast of the whole module.

    `module.bfloat16()`, which DeepSpeed calls, rounds these buffers too: at position 16,384 the angle of the fastest
    pair below one would then be wrong by tens of radians.
    """
    for module in rotary_modules(model):
        fresh = type(module)(config).inv_freq.to(module.inv_freq.device)  # to the bit what transformers will load
        module.inv_freq, module.original_inv_freq = fresh, fresh.clone()


def assert_rope_theta(model: nn.Module, theta: float) -> None:
    """Check that the model really rotates by `theta`: its configuration can say one thing and its buffers another."""
    config: Any = model.config
    stated = config.rope_parameters["rope_theta"]
    assert stated == theta, f"config says rope_theta={stated}, expected {theta}"
    modules = rotary_modules(model)
    assert modules, "no rotary embedding found"
    for module in modules:
        assert module.inv_freq.dtype == torch.float32, module.inv_freq.dtype
        torch.testing.assert_close(module.inv_freq.cpu(), expected_frequencies(config), rtol=1e-5, atol=0)


def fetch_origin(origin: str) -> Path:
    """Give the folder of `model.init_from`, downloading it if it is a name on the hub."""
    if Path(origin).is_dir():
        return Path(origin)
    try:
        return Path(snapshot_download(origin, allow_patterns=NEEDED_FILES, ignore_patterns=UNNEEDED_FILES))
    except (OSError, ValueError) as error:
        raise UserError(f"model.init_from={origin!r} is neither a folder nor a model that the hub gives") from error
