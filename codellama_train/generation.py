"""Load a finished model and let it write: completion, infilling and chat, always from token ids."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import GenerationConfig, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from codellama_train.console import UserError
from codellama_train.model import add_rows, assert_rope_theta, named_ids, num_ids, require_matching_rows
from codellama_train.model_folder import model_folder
from codellama_train.tokens.dialogue import Message, dialogue_prompt, end_of_answer
from codellama_train.tokens.dialogue_format import DialogueFormat, format_of_folder
from codellama_train.tokens.infilling import InfillingMode, infilling_prompt
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.tokenizer import Tokenizer

PADDED_TOKENS_PER_BATCH = 16_384

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode, the tokenizer it was trained with, and the dialogue format it is spoken to in."""

    model: Any
    tokenizer: Tokenizer
    folder: Path
    dialogue_format: DialogueFormat

    @property
    def trained_length(self) -> int:
        """Positions the model was trained on."""
        length: int = self.model.config.max_position_embeddings
        return length

    @property
    def rope_theta(self) -> float:
        """The RoPE base the model rotates by."""
        theta: float = self.model.config.rope_parameters["rope_theta"]
        return theta


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; temperature 0 takes the likeliest (greedy)."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Gap:
    """What surrounds a missing middle."""

    prefix: str
    suffix: str


@dataclass(frozen=True)
class Generated:
    """What a model wrote, and whether it ended by its stop token rather than by running out of new tokens."""

    text: str
    num_tokens: int
    is_finished: bool


def load_model(path: Path, *, dtype: torch.dtype | None = None, device: str | None = None) -> LoadedModel:
    """Load a Llama-shaped Hugging Face folder with its tokenizer, for generation and scoring.

    dtype None keeps the type the weights are stored in; device None takes CUDA where there is one.
    """
    folder = model_folder(path)
    tokenizer, dialogue_format = open_tokenizer(folder), format_of_folder(folder) or "inst"
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # generation beyond the trained length is what some probes are about
    try:
        model, report = LlamaForCausalLM.from_pretrained(
            folder, dtype=dtype or "auto", attn_implementation="sdpa", output_loading_info=True, local_files_only=True
        )
    except (OSError, SafetensorError) as error:
        raise UserError(f"the weights at {folder} cannot be read: {str(error).splitlines()[0]}") from error
    if report["missing_keys"]:
        raise UserError(f"the weights at {folder} lack {sorted(report['missing_keys'])[0]}; the folder is incomplete")
    require_matching_rows(
        f"the model at {folder}", rows=model.config.vocab_size, vocabulary_size=tokenizer.vocabulary_size
    )
    if model.config.vocab_size < num_ids(tokenizer):
        logger.warning("%s has no rows for the infilling tokens yet; here they are means, as before training", folder)
        add_rows(model, tokenizer, used_rows=named_ids(folder))
    model.eval().requires_grad_(requires_grad=False)
    assert_rope_theta(model, model.config.rope_parameters["rope_theta"])
    model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return LoadedModel(model, tokenizer, folder, dialogue_format)


def complete(loaded: LoadedModel, prompts: Sequence[str], sampling: Sampling) -> list[Generated]:
    """Continue each text until the model ends the document."""
    tokenizer = loaded.tokenizer
    contexts = [tokenizer.encode(prompt) for prompt in prompts]
    answers = generate_ids(
        loaded, [[tokenizer.bos_id, *context] for context in contexts], sampling, stop_id=tokenizer.eos_id
    )
    return [
        _generated(continuation(tokenizer, context, ids), ids, tokenizer.eos_id)
        for context, ids in zip(contexts, answers, strict=True)
    ]


def infill(loaded: LoadedModel, gaps: Sequence[Gap], mode: InfillingMode, sampling: Sampling) -> list[Generated]:
    """Write the middle of each gap until the model marks its end (EOT, section 2.3)."""
    tokenizer, end_id = loaded.tokenizer, loaded.tokenizer.sentinels.end
    prompts = [infilling_prompt(tokenizer, gap.prefix, gap.suffix, mode) for gap in gaps]
    answers = generate_ids(loaded, prompts, sampling, stop_id=end_id)
    return [
        _generated(middle_text(tokenizer, gap, mode, ids), ids, end_id) for gap, ids in zip(gaps, answers, strict=True)
    ]


def middle_text(tokenizer: Tokenizer, gap: Gap, mode: InfillingMode, ids: Sequence[int]) -> str:
    """Decode what was generated for a gap, up to EOT.

    In SPM the prompt ends with the prefix's own tokens, which the middle continues; in PSM it stands by itself.
    """
    end_id = tokenizer.sentinels.end
    body = ids[: ids.index(end_id)] if end_id in ids else ids
    return (
        tokenizer.decode_infilling(body)
        if mode == "psm"
        else continuation(tokenizer, tokenizer.encode(gap.prefix), body)
    )


def answer(loaded: LoadedModel, dialogues: Sequence[Sequence[Message]], sampling: Sampling) -> list[Generated]:
    """Answer the last message of each dialogue, which is the user's."""
    tokenizer, end_id = loaded.tokenizer, end_of_answer(loaded.tokenizer, loaded.dialogue_format)
    prompts = [dialogue_prompt(tokenizer, messages, loaded.dialogue_format) for messages in dialogues]
    answers = generate_ids(loaded, prompts, sampling, stop_id=end_id)
    return [
        _generated(continuation(tokenizer, prompt, ids).strip(), ids, end_id)
        for prompt, ids in zip(prompts, answers, strict=True)
    ]


def continuation(tokenizer: Tokenizer, context: Sequence[int], new: Sequence[int]) -> str:
    """Decode `new` as what follows `context`: spaces at the seam, and characters split over it, come out right."""
    return tokenizer.decode([*context, *new])[len(tokenizer.decode(context)) :]


def _generated(text: str, ids: Sequence[int], stop_id: int) -> Generated:
    return Generated(text=text, num_tokens=len(ids), is_finished=ids[-1:] == [stop_id])


def generate_ids(
    loaded: LoadedModel, prompts: Sequence[Sequence[int]], sampling: Sampling, *, stop_id: int
) -> list[list[int]]:
    """Give the new ids of each prompt, up to and with `stop_id`; prompts of similar length run together.

    Greedy results do not depend on what else is in the batch, but for the rounding of the model's number type.
    """
    results: list[list[int]] = [[] for _ in prompts]
    for batch in batches_by_length(
        [len(prompt) + sampling.max_new_tokens for prompt in prompts], tokens_per_batch=PADDED_TOKENS_PER_BATCH
    ):
        generated = _generate_batch(loaded, [prompts[index] for index in batch], sampling, stop_id)
        for index, ids in zip(batch, generated, strict=True):
            results[index] = ids[: ids.index(stop_id) + 1] if stop_id in ids else ids
    return results


def batches_by_length(lengths: Sequence[int], *, tokens_per_batch: int) -> list[list[int]]:
    """Group indices of similar length so that each group, padded to its longest, holds at most `tokens_per_batch`.

    A sequence longer than that is a group of its own.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= tokens_per_batch:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _generate_batch(
    loaded: LoadedModel, prompts: Sequence[Sequence[int]], sampling: Sampling, stop_id: int
) -> list[list[int]]:
    width = max(len(prompt) for prompt in prompts)
    device = loaded.model.device
    input_ids = torch.full((len(prompts), width), stop_id, device=device)
    attention_mask = torch.zeros_like(input_ids)
    for row, prompt in enumerate(prompts):
        input_ids[row, width - len(prompt) :] = torch.tensor(prompt, device=device)
        attention_mask[row, width - len(prompt) :] = 1
    config = GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=stop_id,
        pad_token_id=stop_id,
        bos_token_id=loaded.tokenizer.bos_id,
        suppress_tokens=_rows_without_piece(loaded) or None,
        **_choice(sampling),
    )
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(sampling.seed)
        output = loaded.model.generate(input_ids, attention_mask=attention_mask, generation_config=config)
    new: list[list[int]] = output[:, width:].tolist()
    return new


def _choice(sampling: Sampling) -> dict[str, Any]:
    if sampling.temperature == 0:
        return {"do_sample": False}
    return {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}


def _rows_without_piece(loaded: LoadedModel) -> list[int]:
    return [row for row in range(loaded.model.config.vocab_size) if loaded.tokenizer.piece(row) is None]
