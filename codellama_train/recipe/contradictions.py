"""What a training stage may not say otherwise than those it descends from: shape, vocabulary, tokenizer, reach, θ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codellama_train.console import UserError, format_number
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import RECIPE_FILE
from codellama_train.tokens.tokenizer import VOCABULARY_MULTIPLE

SHAPE = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
# Code Llama's 16 pieces, and rows up to a multiple of 16.
MOST_NEW_ROWS = 16 + VOCABULARY_MULTIPLE - 1


@dataclass(frozen=True)
class Stated:
    """A recipe and the file that states it: a recipe's own, or that of the run which it made."""

    path: Path
    recipe: TrainingRecipe

    @property
    def vocabulary_size(self) -> int | None:
        """Give the embedding rows it states; None means a row for every id, infilling tokens included."""
        architecture = self.recipe.model.architecture
        return architecture.vocab_size if architecture else None


def refuse_contradictions(child: Stated, ancestors: Sequence[Stated]) -> None:
    """Compare a stage with its ancestors, the nearest first; the first contradiction is told in one sentence."""
    if ancestors:
        _compare_shape(child, ancestors)
        _compare_vocabulary(child, ancestors)
        _require_room_for_infilling(child, ancestors)
        _compare_tokenizer(child, ancestors)
        _compare_theta(child, ancestors[0])
        _require_reach(child, ancestors)
        _require_unrounded_base(child, ancestors)


def _contradiction(child: Stated, ancestor: Stated, key: str, *, values: tuple[Any, Any], rule: str) -> UserError:
    own, other = (repr(value) if isinstance(value, str) else format_number(value) for value in values)
    descends = (
        "which it starts from" if child.recipe.model.init_from == _final_of(ancestor) else "which it descends from"
    )
    remedy = f", or remove {ancestor.path.parent} to train it anew" if ancestor.path.name == RECIPE_FILE else ""
    return UserError(f"{child.path}: {key}={own}, but {ancestor.path}, {descends}, has {other}; {rule}{remedy}")


def _final_of(stated: Stated) -> str:
    return str(stated.recipe.run_dir / "final")


def _compare_shape(child: Stated, ancestors: Sequence[Stated]) -> None:
    stating = next((each for each in ancestors if each.recipe.model.architecture), None)
    if stating is None or child.recipe.model.architecture is None:
        return
    for key in SHAPE:
        own, other = (getattr(each.recipe.model.architecture, key) for each in (child, stating))
        if own != other:
            rule = "a stage has the shape of its base: correct the key, or start from another model"
            raise _contradiction(child, stating, f"model.architecture.{key}", values=(own, other), rule=rule)


def has_infilling_tokens(lineage: Sequence[Stated]) -> bool:
    """Tell whether the first of a lineage has rows for the infilling tokens, by what it and its ancestors state."""
    sizes = [each.vocabulary_size for each in lineage]
    learns = any(each.recipe.data.infilling for each in lineage)
    stated = [size for size in sizes if size is not None]
    return learns or None in sizes or (bool(stated) and stated[0] > stated[-1])


def _compare_vocabulary(child: Stated, ancestors: Sequence[Stated]) -> None:
    position = next((index for index, each in enumerate(ancestors) if each.vocabulary_size), None)
    own = child.vocabulary_size
    if position is None or own is None:
        return
    stating, other = ancestors[position], ancestors[position].vocabulary_size
    if other is None or own == other:
        return
    if own < other:
        rule = f"rows of the embedding are never taken away: use {other:,}, or remove the key"
    elif has_infilling_tokens(ancestors[position:]):
        rule = f"there are no rows to add where the infilling tokens have theirs already: use {other:,}"
    elif own - other > MOST_NEW_ROWS:
        rule = f"a stage adds rows for the infilling tokens alone, at most {MOST_NEW_ROWS}: use {other + 16:,}"
    else:
        return
    raise _contradiction(child, stating, "model.architecture.vocab_size", values=(own, other), rule=rule)


def _require_room_for_infilling(child: Stated, ancestors: Sequence[Stated]) -> None:
    own, parent = child.vocabulary_size, ancestors[0]
    if child.recipe.data.infilling and own and own == parent.vocabulary_size and not has_infilling_tokens(ancestors):
        raise UserError(
            f"{child.path}: [data.infilling] needs rows for the infilling tokens, but model.architecture.vocab_size="
            f"{own:,} is that of {parent.path}, which has none; use {own + 16:,}, or remove that key to have a row for "
            "every id, or remove the table"
        )


def _compare_tokenizer(child: Stated, ancestors: Sequence[Stated]) -> None:
    own = child.recipe.model.tokenizer
    oldest = len(ancestors) - 1
    position = next((index for index, each in enumerate(ancestors) if each.recipe.model.tokenizer), oldest)
    stating = ancestors[position]
    other = stating.recipe.model.tokenizer or str(stating.recipe.model.init_from)
    models = (str(each.recipe.model.init_from) for each in (child, *ancestors[: position + 1]))
    carrying = {other, *models}  # a finished model has its tokenizer beside it
    if own is None or Path(own) in map(Path, carrying) or _is_same_tokenizer(Path(own), Path(other)):
        return
    rule = (
        "a model keeps the tokenizer it was trained with: remove the key, and the one that comes with the base is used"
    )
    raise _contradiction(child, stating, "model.tokenizer", values=(own, other), rule=rule)


def _is_same_tokenizer(own: Path, other: Path) -> bool:
    """Tell whether both are here and encode alike; only asked where they lie in different places."""
    from codellama_train.tokens.open_tokenizer import open_tokenizer

    return own.exists() and other.exists() and open_tokenizer(own).fingerprint == open_tokenizer(other).fingerprint


def _compare_theta(child: Stated, parent: Stated) -> None:
    own, other = child.recipe.model.rope_theta, parent.recipe.model.rope_theta
    if own < other:
        rule = f"the RoPE base is kept or raised, never lowered (section 2.4): use {other:,.0f} or more"
        raise _contradiction(child, parent, "model.rope_theta", values=(own, other), rule=rule)


def _require_reach(child: Stated, ancestors: Sequence[Stated]) -> None:
    """Refuse sequences longer than any the base has seen at this θ; a base that is here says itself how far it goes."""
    own, theta = child.recipe.data.sequence_length, child.recipe.model.rope_theta
    longest = max(ancestors, key=lambda each: each.recipe.data.sequence_length)
    reach = longest.recipe.data.sequence_length
    if own <= max(reach, *(_positions_of_base(each) for each in (child, *ancestors))):
        return
    if theta <= ancestors[0].recipe.model.rope_theta:
        rule = (
            f"longer sequences need a raised RoPE base (section 2.4): raise model.rope_theta above {theta:,.0f} as the "
            f"long_context recipes do, or shorten the sequences to {reach:,}"
        )
        raise _contradiction(child, longest, "data.sequence_length", values=(own, reach), rule=rule)


def _require_unrounded_base(child: Stated, ancestors: Sequence[Stated]) -> None:
    """Refuse four bits upon four bits: what adapters have changed since is less than a step of the rounding."""
    if not _is_quantized(child):
        return
    rounded = next((each for each in ancestors if _is_quantized(each)), None)
    if rounded is not None:
        raise UserError(
            f"{child.path}: lora.quantization is set, but {rounded.path}, which it descends from, was rounded to four "
            "bits already; rounded again, its model forgets the adapters it has learned (docs/choices.md, 56): remove "
            'the key; machine.zero_stage=3 with machine.offload.parameters="cpu" takes a base that is too large'
        )


def _is_quantized(stated: Stated) -> bool:
    lora = stated.recipe.lora
    return lora is not None and lora.quantization is not None


def _positions_of_base(stated: Stated) -> int:
    """Give how many positions the configuration of a base on this machine says; 0 where there is none."""
    path = Path(stated.recipe.model.init_from or "") / "config.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
