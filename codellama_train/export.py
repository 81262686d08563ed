"""Write a model as a Hugging Face folder that plain transformers loads, and prove that it does."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from codellama_train import artifacts
from codellama_train.checkpoint import ENGINE, newest_whole
from codellama_train.console import UserError
from codellama_train.distributed import Processes, barrier
from codellama_train.engine import consolidated_weights
from codellama_train.lora import adapted, merged, save_adapter
from codellama_train.model import CPU, assert_rope_theta, build_model, empty_model, fetch_origin, load_tokenizer
from codellama_train.quantization import round_layer
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import FINAL, saved
from codellama_train.shared_checksums import damage_alone
from codellama_train.tokens.dialogue_format import DialogueFormat, format_of_folder, format_of_mixture
from codellama_train.tokens.hugging_face import check_fast_tokenizer, write_fast_tokenizer
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.shards import ShardSet
from codellama_train.tokens.tokenizer import Tokenizer
from codellama_train.weights import HEAD, fill

CAUSAL = "causal."  # where TrainingModel keeps the language model
ADAPTER = "adapter"
PROBE_TOKENS = 64

logger = logging.getLogger(__name__)


def export_run(recipe: TrainingRecipe, engine: Any, *, tokenizer: Tokenizer, processes: Processes) -> None:
    """Write the trained model to the run's `final/`; all processes take part, the first one writes."""
    weights = consolidated_weights(engine, processes)
    if processes.is_first:
        with artifacts.new_folder(recipe.run_dir / FINAL) as folder:
            write_model_folder(folder, recipe, weights=weights, tokenizer=tokenizer)
            artifacts.write_manifest(folder, {"recipe": recipe.name, "steps": recipe.steps})
        logger.info("wrote %s", recipe.run_dir / FINAL)
    barrier()


def export_checkpoint(recipe: TrainingRecipe, path: Path) -> int:
    """Write the newest whole checkpoint of a run as a model folder, in this one process; gives its step."""
    newest = newest_whole(saved(recipe.run_dir), damage_alone)
    if newest is None:
        raise UserError(f"{recipe.run_dir} has no checkpoint; a finished run has its model at {recipe.run_dir / FINAL}")
    step: int = artifacts.finished_manifest(newest)["step"]
    weights = get_fp32_state_dict_from_zero_checkpoint(
        str(newest), tag=ENGINE, exclude_frozen_parameters=True, lazy_mode=True
    )
    with artifacts.new_folder(path) as folder:
        write_model_folder(folder, recipe, weights=weights, tokenizer=load_tokenizer(recipe.model))
        artifacts.write_manifest(folder, {"recipe": recipe.name, "steps": step})
    return step


def write_model_folder(folder: Path, recipe: TrainingRecipe, *, weights: dict[str, Any], tokenizer: Tokenizer) -> None:
    """Write configuration, weights in bfloat16, tokenizer and, for LoRA, the adapter beside the merged model.

    `weights` are those that trained, tensors or what DeepSpeed stands for them; they are taken out as they are used, so
    that memory never holds a second copy of the model. What did not train is as training started from it.
    """
    weights = {name.removeprefix(CAUSAL): weights.pop(name) for name in list(weights)}
    if recipe.lora is None:
        trained = filled_model(recipe, weights, tokenizer)
    else:
        after_each = round_layer if recipe.lora.quantization else None
        base = build_model(recipe, tokenizer, dtype=torch.bfloat16, after_each=after_each)
        trained = adapted(base, recipe, tokenizer)
        load_exactly(trained, {name: weights.pop(name).contiguous() for name in list(weights)})
        save_adapter(trained, folder / ADAPTER)
        trained = merged(trained)
    config, dialogue_format = trained.config, learned_format(recipe)
    set_end_tokens(trained, tokenizer, dialogue_format)
    trained.save_pretrained(folder)
    expected = probe_logits(trained)
    del trained  # before it is loaded again
    write_config(folder, config)
    tokenizer.save(folder)
    write_fast_tokenizer(
        tokenizer,
        folder,
        dialogue_format=dialogue_format,
        model_max_length=config.max_position_embeddings,
    )
    check_model_folder(folder, expected, rope_theta=recipe.model.rope_theta)
    check_fast_tokenizer(tokenizer, folder)
    written = open_tokenizer(folder).fingerprint
    assert written == tokenizer.fingerprint, (written, tokenizer.fingerprint)


def learned_format(recipe: TrainingRecipe) -> DialogueFormat | None:
    """Give the format of the recipe's dialogues, or else of those its base has learned; None if there are neither."""
    manifests = {name: ShardSet(source.shards).manifest for name, source in recipe.data.sources.items()}
    origin = recipe.model.init_from
    return format_of_mixture(manifests) or (format_of_folder(fetch_origin(origin)) if origin else None)


def set_end_tokens(model: Any, tokenizer: Tokenizer, dialogue_format: DialogueFormat | None) -> None:
    """Let servers stop where a text or an answer ends; they read `generation_config.json`."""
    has_steps = dialogue_format == "source_destination"
    model.generation_config.eos_token_id = [tokenizer.eos_id, tokenizer.step_id] if has_steps else tokenizer.eos_id


def filled_model(recipe: TrainingRecipe, weights: dict[str, Any], tokenizer: Tokenizer) -> LlamaForCausalLM:
    """Give the recipe's model with the trained weights, which are taken out; there must be one for every parameter."""
    model = empty_model(recipe, tokenizer)
    if model.config.tie_word_embeddings:
        weights.pop(f"{HEAD}.weight", None)  # stands for the embedding's once more
    fill(model, lambda name, _: weights.pop(name).contiguous(), dtype=torch.bfloat16, device=CPU)
    assert not weights, sorted(weights)[:5]
    return model


def load_exactly(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load weights by name; every parameter that trains must be given, and nothing else."""
    expected = {name for name, weight in model.named_parameters(remove_duplicate=False) if weight.requires_grad}
    assert expected == weights.keys(), sorted(expected ^ weights.keys())[:5]
    model.load_state_dict(weights, strict=False)


def write_config(folder: Path, config: Any) -> None:
    """Add the top-level `rope_theta` that readers before transformers 5 look for; without it they assume 10,000."""
    path = folder / "config.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["rope_theta"] = config.rope_parameters["rope_theta"]
    stored["use_cache"] = True
    artifacts.write_json(path, stored)


def check_model_folder(folder: Path, expected: Tensor, *, rope_theta: float) -> None:
    """Load the folder with plain transformers and demand the RoPE base, and the logits that the written model gave."""
    reloaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    assert_rope_theta(reloaded, rope_theta)
    torch.testing.assert_close(probe_logits(reloaded), expected, rtol=0, atol=0)


@torch.inference_mode()
def probe_logits(model: Any) -> Tensor:
    """Give a model's logits for tokens drawn at random, the same ones for every model of a vocabulary."""
    probe = torch.randint(model.config.vocab_size, (1, PROBE_TOKENS), generator=torch.Generator().manual_seed(0))
    logits: Tensor = model.eval()(probe).logits
    return logits
