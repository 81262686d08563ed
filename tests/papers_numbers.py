"""What the Code Llama paper says of every training stage of every size, key by key, each with where it says so.

Sections, tables and figures are those of arXiv 2308.12950 v3. What it leaves open has the number of its line in
docs/choices.md; shapes and vocabularies are those of the published models' config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from codellama_train.report.paper import MIXTURES


class Fact(NamedTuple):
    """A value, None where the key must be absent, and what says so."""

    value: object
    source: str


SIZES = ("7b", "13b", "34b", "70b")
SMALL = ("7b", "13b")  # those with a second trunk, without infilling (choice 22)
STAGES = {  # figure 2 and appendix B
    **dict.fromkeys(
        SMALL, ("code", "code_without_infilling", "python", "long_context", "python_long_context", "instruct")
    ),
    "34b": ("code", "python", "long_context", "python_long_context", "instruct"),
    "70b": ("code", "python", "long_context", "instruct"),
}

# Each model's stages after Llama 2, in order; the last one gives it (figure 2, appendix B, section 2.1).
LINEAGES = {
    **{f"Code Llama {size.upper()}": (size, ("code", "long_context")) for size in SIZES},
    **{
        f"Code Llama - Python {size.upper()}": (size, ("code_without_infilling", "python", "python_long_context"))
        for size in SMALL
    },
    "Code Llama - Python 34B": ("34b", ("code", "python", "python_long_context")),
    "Code Llama - Python 70B": ("70b", ("code", "python")),
    **{f"Code Llama - Instruct {size.upper()}": (size, ("code", "long_context", "instruct")) for size in SIZES[:3]},
    "Code Llama - Instruct 70B": ("70b", ("code", "python", "instruct")),
}

SHAPES = {  # hidden size, intermediate size, layers, heads, key-value heads, parameters with 32,000 rows
    "7b": (4_096, 11_008, 32, 32, 32, 6_738_415_616),
    "13b": (5_120, 13_824, 40, 40, 40, 13_015_864_320),
    "34b": (8_192, 22_016, 48, 64, 8, 33_743_970_304),
    "70b": (8_192, 28_672, 80, 64, 8, 68_976_648_192),
}
SHAPE_KEYS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")

RELEASED = {  # vocabulary, RoPE base and context of the published models' config.json
    **dict.fromkeys(LINEAGES, (32_016, 1e6, 16_384)),
    **{name: (32_000, 1e6, 16_384) for name in LINEAGES if name.endswith("34B")},
    **{f"Code Llama - Python {size}": (32_000, 1e6, 16_384) for size in ("7B", "13B")},
    **{f"Code Llama - {kind} 70B": (32_016, 1e4, 4_096) for kind in ("Python", "Instruct")},
}

PEAK_RATES = {"7b": 3e-4, "13b": 3e-4, "34b": 1.5e-4, "70b": 1.5e-4}  # section 2.6
CODE_TOKENS = {"7b": 500e9, "13b": 500e9, "34b": 500e9, "70b": 1e12}  # sections 2.1 and 2.2
LONG_CONTEXT_STEPS = {"7b": 3_000, "13b": 10_000, "34b": 11_000, "70b": 10_000}  # section 2.6, of the base
PYTHON_LONG_CONTEXT_STEPS = {"7b": 10_000, "13b": 10_000, "34b": 11_000}  # section 2.6
MILLION = 2**20  # choice 4

# Tokens that table 1 implies there to be: its shares of the tokens over its epochs, of the stage that reads more.
# Natural language is anything from 2.3 to 7 trillion, by how 0.01 was rounded.
UNIQUE_TOKENS = {"code": 209.4e9, "related": 28.8e9, "python": 20.3e9, "language": 3.5e12}


def facts(size: str, stage: str) -> dict[str, Fact]:
    """Give all that decides what is learned in a stage of a size, by dotted key of its recipe."""
    return {
        **_model(size, stage),
        **_data(size, stage),
        **_batch(size, stage),
        **_optimizer(size, stage),
        "lora": Fact(None, "section 2.6"),
    }


def _model(size: str, stage: str) -> dict[str, Fact]:
    shape = {
        f"model.architecture.{key}": Fact(value, "config.json")
        for key, value in zip(SHAPE_KEYS, SHAPES[size][:5], strict=True)
    }
    return {
        "model.init_from": _origin(size, stage),
        **shape,
        "model.architecture.vocab_size": Fact(*_vocabulary(size, stage)),
        "model.architecture.initializer_range": Fact(None, "section 2.1"),
        "model.tokenizer": Fact(None, "section 2.2"),
        "model.rope_theta": Fact(1e6, "2.4, 2.6") if _has_long_context(size, stage) else Fact(1e4, "Llama 2"),
    }


def _origin(size: str, stage: str) -> Fact:
    if stage.startswith("code"):
        llama = {"34b": "models/Llama-2-34b-hf"}.get(size, f"meta-llama/Llama-2-{size}-hf")
        return Fact(llama, "choice 50" if size == "34b" else "section 2.1")
    parents = {
        "python": "code_without_infilling" if size in SMALL else "code",
        "long_context": "code",
        "python_long_context": "python",
        "instruct": "python" if size == "70b" else "long_context",
    }
    by_size = {"7b": "choice 22", "13b": "choice 22", "70b": "appendix B"} if stage == "python" else {}
    return Fact(f"runs/{size}/{parents[stage]}/final", by_size.get(size, "section 2.1"))


def _has_long_context(size: str, stage: str) -> bool:
    return stage.endswith("long_context") or (stage == "instruct" and size != "70b")


def _infills(size: str, stage: str) -> bool:
    return (stage in ("code", "long_context") and size != "34b") or (size, stage) == ("70b", "python")


def _vocabulary(size: str, stage: str) -> tuple[int, str]:
    if stage == "code" and size != "34b":
        return 32_016, "section 2.3"
    is_infilling_model = _infills(size, stage) or (stage == "instruct" and size != "34b")
    return (32_016, "infilling tokens of the code stage") if is_infilling_model else (32_000, "no infilling tokens")


def _data(size: str, stage: str) -> dict[str, Fact]:
    context = Fact(16_384, "2.4, 2.6") if stage.endswith("long_context") else Fact(4_096, "section 2.6")
    if stage == "instruct":
        context = Fact(4_096 if size == "70b" else 16_384, "choice 24")
    infilling = {"python": "section 2.3, choice 51", "long_context": "section 2.3, choice 16"}.get(stage, "section 2.3")
    found = {
        "data.sequence_length": context,
        "data.seed": Fact(1, ""),
        "data.infilling.rate": Fact(0.9 if _infills(size, stage) else None, infilling),
        "data.best_fit": Fact(None, "choice 7"),
        "data.document_mask": Fact(False, "choice 7"),
    }
    for name, (share, shards) in _mixture(size, stage).items():
        found[f"data.sources.{name}.share"] = share
        found[f"data.sources.{name}.shards"] = Fact(f"runs/data/{shards}/train", "section 2.2")
    return found


def _mixture(size: str, stage: str) -> dict[str, tuple[Fact, str]]:
    if stage == "instruct":
        suffix = "_source_destination" if size == "70b" else ""  # choice 45
        rehearsal = MIXTURES["instruct"]
        return {
            "conversations": (Fact(0.915, "section 2.5"), f"instruct/shards/conversations{suffix}"),
            "self_instruct": (Fact(0.005, "choice 27"), f"instruct/shards/self_instruct{suffix}"),
            **{name: (Fact(rehearsal[name].share, "section 2.5"), _shards(name)) for name in ("code", "language")},
        }
    source = "choice 18" if stage.endswith("long_context") else "table 1"
    rows = MIXTURES["python" if stage.startswith("python") else "code"]
    return {name: (Fact(row.share, source), _shards(name)) for name, row in rows.items()}


def _shards(name: str) -> str:
    return f"code/shards/{name}"


def _batch(size: str, stage: str) -> dict[str, Fact]:
    per_step, total = Fact(4 * MILLION, "section 2.6"), Fact(CODE_TOKENS[size], "sections 2.1, 2.2")
    if stage == "python":
        total = Fact(100e9, "section 2.1")
    elif stage == "instruct":
        per_step = Fact(524_288, "section 2.6")
        total = Fact(5e9, "section 2.6" if size != "70b" else "choice 52")
    elif stage.endswith("long_context"):
        tokens = (1 if size == "34b" else 2) * MILLION
        per_step = Fact(tokens, "choice 20" if size == "70b" else "section 2.6")
        steps = (LONG_CONTEXT_STEPS if stage == "long_context" else PYTHON_LONG_CONTEXT_STEPS)[size]
        total = Fact(steps * tokens, "section 2.6")
    return {"batch.tokens_per_step": per_step, "batch.total_tokens": total}


def _optimizer(size: str, stage: str) -> dict[str, Fact]:
    peak = Fact(PEAK_RATES[size], "section 2.6")
    floor, warmup, start = Fact(1 / 30, "section 2.6"), Fact(1_000, "section 2.6"), Fact(0.0, "section 2.6")
    if stage == "python":
        peak, warmup = Fact(1e-4, "section 2.6"), Fact(1_000, "section 2.6, choice 6")
    elif stage == "instruct":
        peak, floor, warmup = Fact(2e-5, "choice 23"), Fact(0.1, "choice 23"), Fact(100, "choice 23")
    elif stage.endswith("long_context"):
        peak, warmup, start = Fact(2e-5, "section 2.6"), Fact(20, "choice 17"), Fact(0.1, "choice 17")
    return {
        "optimizer.peak_learning_rate": peak,
        "optimizer.final_learning_rate_fraction": floor,
        "optimizer.warmup_steps": warmup,
        "optimizer.warmup_start_fraction": start,
        "optimizer.betas": Fact([0.9, 0.95], "section 2.6"),
        "optimizer.epsilon": Fact(1e-5, "choice 1"),
        "optimizer.weight_decay": Fact(0.1, "choice 1"),
        "optimizer.gradient_clipping": Fact(1.0, "choice 1"),
    }


def differences(name: str, stated: Mapping[str, object], expected: Mapping[str, Fact]) -> list[str]:
    """Say where a recipe's keys differ from the paper's, each with what it should be and where that stands."""
    found = []
    for key in {**expected, **stated}:
        fact = expected.get(key, Fact(None, "nothing"))
        value = stated.get(key)
        if value != fact.value:
            found.append(f"{name}: {key} is {value!r}, but {fact.source} says {fact.value!r}")
    return found
