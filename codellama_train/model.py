"""Build the model a recipe names: load or initialise, add rows for new tokens, set and assert the RoPE base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from torch import Tensor, nn
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from codellama_train.console import UserError
from codellama_train.loss import LossHead
from codellama_train.recipe.training import Model, TrainingRecipe
from codellama_train.tokens.tokenizer import SentencePieceTokenizer

disable_progress_bar()


def build_model(recipe: TrainingRecipe, tokenizer: SentencePieceTokenizer) -> LlamaForCausalLM:
    """Give the model that the recipe starts from, in float32, ready to train."""
    if recipe.model.init_from is None:
        model = _initialise(recipe, tokenizer)
    else:
        model = _load(recipe, fetch_origin(recipe.model.init_from))
        add_rows(model, tokenizer.vocabulary_size)
    model.config.bos_token_id, model.config.eos_token_id = tokenizer.bos_id, tokenizer.eos_id
    model.config.pad_token_id = None
    model.lm_head = LossHead(model.lm_head)
    assert_rope_theta(model, recipe.model.rope_theta)
    return model


def _initialise(recipe: TrainingRecipe, tokenizer: SentencePieceTokenizer) -> LlamaForCausalLM:
    architecture = recipe.model.architecture
    assert architecture is not None, "a recipe has init_from or an architecture"
    config = LlamaConfig(
        **architecture.model_dump(),
        vocab_size=tokenizer.vocabulary_size,
        max_position_embeddings=recipe.data.sequence_length,
        rms_norm_eps=1e-5,  # Llama 2
        rope_parameters={"rope_type": "default", "rope_theta": recipe.model.rope_theta},
        tie_word_embeddings=False,
        attn_implementation="sdpa",
    )
    torch.manual_seed(recipe.data.seed)
    return LlamaForCausalLM(config)


def _load(recipe: TrainingRecipe, origin: Path) -> LlamaForCausalLM:
    config = AutoConfig.from_pretrained(origin)
    if config.model_type != "llama":
        raise UserError(
            f"model.init_from={str(origin)!r} is a {config.model_type!r} model; the recipe trains Llama models"
        )
    require_reach(config, recipe.model, sequence_length=recipe.data.sequence_length)
    config.rope_parameters = {"rope_type": "default", "rope_theta": recipe.model.rope_theta}
    config.max_position_embeddings = max(config.max_position_embeddings, recipe.data.sequence_length)
    config.use_cache = False
    return LlamaForCausalLM.from_pretrained(origin, config=config, dtype=torch.float32, attn_implementation="sdpa")


def require_reach(config: Any, model: Model, *, sequence_length: int) -> None:
    """Refuse sequences beyond the positions a base was trained for, unless the RoPE base is raised (section 2.4)."""
    trained, theta = config.max_position_embeddings, config.rope_parameters["rope_theta"]
    if sequence_length > trained and model.rope_theta <= theta:
        raise UserError(
            f"data.sequence_length={sequence_length:,} is beyond the {trained:,} positions that {model.init_from} was "
            f"trained for; shorten it, or raise model.rope_theta above {theta:,.0f} as the long_context recipes do"
        )


def load_tokenizer(model: Model) -> SentencePieceTokenizer:
    """Read the recipe's tokenizer: the one it names, or the one that comes with the model it starts from."""
    folder = Path(model.tokenizer) if model.tokenizer else fetch_origin(str(model.init_from))
    return SentencePieceTokenizer.from_folder(folder)


def add_rows(model: LlamaForCausalLM, vocabulary_size: int) -> None:
    """Extend both embeddings to the tokenizer's vocabulary; new rows start as the mean of the old ones."""
    old = model.get_input_embeddings().weight.shape[0]
    if old > vocabulary_size:
        raise UserError(
            f"the base has {old:,} embedding rows, more than the {vocabulary_size:,} ids of its tokenizer: "
            "the tokenizer does not belong to this model"
        )
    if old == vocabulary_size:
        return
    model.resize_token_embeddings(vocabulary_size, mean_resizing=False)
    weights = {
        id(layer.weight): layer.weight for layer in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    with torch.no_grad():
        for weight in weights.values():
            weight[old:] = weight[:old].mean(dim=0)


def rotary_modules(model: nn.Module) -> list[Any]:
    """Find the modules that hold RoPE frequencies."""
    return [module for module in model.modules() if hasattr(module, "original_inv_freq")]


def expected_frequencies(config: Any) -> Tensor:
    """Compute θ_i = theta^(-2i/d), d the head's size (section 2.4). Shape: (d / 2,)."""
    dimension = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    exponents = torch.arange(0, dimension, 2, dtype=torch.float64) / dimension
    return torch.as_tensor(config.rope_parameters["rope_theta"], dtype=torch.float64).pow(-exponents).float()


def restore_rotary_precision(model: nn.Module, config: Any) -> None:
    """Put RoPE frequencies back to float32 after a cast of the whole module.

    `module.bfloat16()`, which DeepSpeed calls, rounds these buffers too: at position 16,384 the angle of the fastest
    pair below one would then be wrong by tens of radians.
    """
    for module in rotary_modules(model):
        device = module.inv_freq.device
        module.inv_freq = expected_frequencies(config).to(device)
        module.original_inv_freq = expected_frequencies(config).to(device)


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
        return Path(snapshot_download(origin, allow_patterns=["*.model", "*.json", "*.safetensors"]))
    except (OSError, ValueError) as error:
        raise UserError(f"model.init_from={origin!r} is neither a folder nor a model that the hub gives") from error
