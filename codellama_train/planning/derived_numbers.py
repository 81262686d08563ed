"""Every number that follows from a recipe: what `scripts/train.py --dry-run` answers."""

from __future__ import annotations

from codellama_train.console import print_table
from codellama_train.recipe.machine import Offload
from codellama_train.recipe.training import TrainingRecipe, sequence_groups, sequences_per_rank
from codellama_train.schedule import learning_rate


def print_derived_numbers(recipe: TrainingRecipe, *, num_ranks: int) -> None:
    """Print every derived number of a recipe for a number of devices."""
    groups = sequence_groups(num_ranks, recipe.machine.sequence_parallel)
    rows = sequences_per_rank(recipe.sequences_per_step, groups)
    machine, optimizer, steps = recipe.machine, recipe.optimizer, recipe.steps
    origin = recipe.model.init_from or "random weights"
    facts: list[tuple[str, object]] = [
        ("starts from", origin),
        ("run folder", recipe.run_dir),
        ("RoPE base", recipe.model.rope_theta),
        ("steps", steps),
        ("tokens in all", steps * recipe.batch.tokens_per_step),
        ("tokens per step", recipe.batch.tokens_per_step),
        ("sequence length in tokens", recipe.data.sequence_length),
        ("sequences per step (lanes)", recipe.sequences_per_step),
        ("devices", num_ranks),
        ("devices that share each sequence", machine.sequence_parallel),
        ("tokens of a sequence on each device", recipe.data.sequence_length // machine.sequence_parallel),
        ("sequences per device and step", rows),
        ("padded rows per step", rows * groups - recipe.sequences_per_step),
        ("gradient accumulation (micro-steps)", -(-rows // machine.sequences_per_device)),
        ("learning rate at the first step", f"{learning_rate(1, optimizer, steps=steps):.3g}"),
        (f"peak learning rate, from step {optimizer.warmup_steps:,}", f"{optimizer.peak_learning_rate:.3g}"),
        ("learning rate at the last step", f"{learning_rate(steps, optimizer, steps=steps):.3g}"),
        ("infilling rate", recipe.data.infilling.rate if recipe.data.infilling else "none"),
        ("trained", "LoRA adapters" if recipe.lora else "all weights"),
        ("validation", describe_validation(recipe)),
        ("feed-forward tokens at once", machine.mlp_tile_tokens or "all"),
        ("ZeRO stage", machine.zero_stage),
        ("offload", describe_offload(machine.offload) if machine.offload else "none"),
        ("kernels", "compiled" if machine.compile else machine.kernels or "PyTorch's"),
    ]
    print_table(recipe.name, ["", "value"], facts)
    total = steps * recipe.batch.tokens_per_step
    sources = [(name, source.share, round(source.share * total)) for name, source in recipe.data.sources.items()]
    print_table("mixture", ["source", "share of tokens", "tokens"], sources)


def describe_validation(recipe: TrainingRecipe) -> str:
    """Say how often the model is measured on how much held-out data."""
    table = recipe.validation
    if table is None:
        return "none"
    sequences = table.sequences_per_source * len(table.shards)
    return f"every {table.every_steps:,} steps and at the end, {sequences:,} held-out sequences"


def describe_offload(offload: Offload) -> str:
    """Say what leaves the devices for where."""
    places = {"optimizer": offload.optimizer, "parameters": offload.parameters}
    text = ", ".join(f"{what} to {place}" for what, place in places.items() if place)
    return f"{text} at {offload.nvme_path}" if offload.nvme_path else text
