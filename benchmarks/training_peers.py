"""The same training in four ways: our loop, Hugging Face's Trainer with DeepSpeed, and bare torch with two losses."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from pacing import Pacer
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import SequentialSampler
from training_world import Case, load_recipe
from transformers import Trainer, TrainerCallback, TrainingArguments

from codellama_train import train as training
from codellama_train.distributed import start_processes
from codellama_train.engine import parameter_groups
from codellama_train.loss import TrainingModel
from codellama_train.model import build_model, restore_rotary_precision
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.tokens.batches import LaneBatches, StepBatch, open_mixture
from codellama_train.tokens.open_tokenizer import open_tokenizer
from codellama_train.tokens.rows import IGNORED


def compete(pipe: Connection, contender: str, folder: Path, case: Case) -> None:
    """Train as the named contender until the parent has seen enough."""
    torch.set_num_threads(1)
    recipe = load_recipe(folder, contender, case)
    CONTENDERS[contender](recipe, Pacer(pipe))


def train_ours(recipe: TrainingRecipe, pacer: Pacer) -> None:
    """Run the loop that `scripts/train.py` runs, held up after each line of metrics."""
    write_metrics = training.write_metrics

    def write_and_pause(run: training.Run, batch: StepBatch) -> None:
        loss = run.window.sums.as_record(list(recipe.data.sources))["loss"]
        write_metrics(run, batch)
        pacer.pause(loss)

    training.write_metrics = write_and_pause
    training.train(recipe)


def train_with_trainer(recipe: TrainingRecipe, pacer: Pacer) -> None:
    """Run `Trainer` as a careful user sets it up; logging, saving and evaluating are off."""
    start_processes()
    optimizer, machine = recipe.optimizer, recipe.machine
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(dir=Path(recipe.runs).parent),
        per_device_train_batch_size=machine.sequences_per_device,
        gradient_accumulation_steps=recipe.sequences_per_step // machine.sequences_per_device,
        max_steps=recipe.steps,
        learning_rate=optimizer.peak_learning_rate,
        lr_scheduler_type="constant",
        adam_beta1=optimizer.betas[0],
        adam_beta2=optimizer.betas[1],
        adam_epsilon=optimizer.epsilon,
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.gradient_clipping,
        bf16=True,
        use_cpu=True,
        remove_unused_columns=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        deepspeed=trainer_settings(recipe),
    )
    held_up = HeldUpTrainer(model=plain_model(recipe), args=arguments, train_dataset=rows_of(recipe))
    held_up.add_callback(PauseAfterStep(held_up, pacer))
    held_up.train()


def trainer_settings(recipe: TrainingRecipe) -> dict[str, Any]:
    """Give DeepSpeed's settings for Trainer, as its guide shows them; gradients are summed in float32 as ours are."""
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_optimization": {"stage": recipe.machine.zero_stage},
        "steps_per_print": 1 << 62,
    }


class HeldUpTrainer(Trainer):
    """Trainer that remembers each micro-step's loss, for which logging would be needed, and takes rows in order."""

    losses: list[Tensor]

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    def training_step(self, *arguments: Any, **named: Any) -> Tensor:
        """Train a micro-step."""
        loss = super().training_step(*arguments, **named)
        self.losses = [*getattr(self, "losses", []), loss]
        return loss


class PauseAfterStep(TrainerCallback):
    """Holds a Trainer up after each step."""

    def __init__(self, trainer: HeldUpTrainer, pacer: Pacer) -> None:
        self._trainer, self._pacer = trainer, pacer

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Report the step's loss: Trainer divides each micro-step's sum by the tokens of the whole step."""
        loss = float(sum(self._trainer.losses))
        self._trainer.losses = []
        self._pacer.pause(loss)


def train_bare(recipe: TrainingRecipe, pacer: Pacer, loss_of: Callable[[Any, Tensor, Tensor], Tensor]) -> None:
    """Run a plain loop: bfloat16 weights, float32 copies that AdamW works on, gradients summed in float32."""
    model: Any = (
        plain_model(recipe) if loss_of is whole_loss else TrainingModel(build_model(recipe, tokenizer_of(recipe)))
    )
    model.train()
    weights = list(model.parameters())
    masters = {weight: nn.Parameter(weight.detach().clone()) for weight in weights}
    groups = parameter_groups(model, weight_decay=recipe.optimizer.weight_decay)
    for group in groups:
        group["params"] = [masters[weight] for weight in group["params"]]
    settings = recipe.optimizer
    rate, betas = settings.peak_learning_rate, settings.betas
    adamw = torch.optim.AdamW(groups, lr=rate, betas=betas, eps=settings.epsilon, fused=True)
    model.bfloat16()
    restore_rotary_precision(model, model.config if loss_of is whole_loss else model.causal.config)
    rows = recipe.machine.sequences_per_device
    for batch in steps_of(recipe):
        total = 0.0
        for input_ids, labels in zip(
            torch.from_numpy(batch.input_ids).split(rows), torch.from_numpy(batch.labels).split(rows), strict=True
        ):
            loss = loss_of(model, input_ids, labels) / batch.num_predicted
            loss.backward()
            total += loss.item()
            add_gradients(weights, masters)
        torch.nn.utils.clip_grad_norm_(masters.values(), settings.gradient_clipping)
        adamw.step()
        adamw.zero_grad()
        with torch.no_grad():
            for weight in weights:
                weight.copy_(masters[weight])
        pacer.pause(total)


def add_gradients(weights: list[nn.Parameter], masters: dict[nn.Parameter, nn.Parameter]) -> None:
    """Add the weights' gradients to those of their float32 copies, and drop them."""
    for weight in weights:
        gradient, master = weight.grad, masters[weight]
        assert gradient is not None, "every weight trains"
        if master.grad is None:
            master.grad = gradient.float()
        else:
            master.grad += gradient
        weight.grad = None


def chunked_loss(model: Any, input_ids: Tensor, labels: Tensor) -> Tensor:
    """Give our loss, whose logits never exist as a whole."""
    summed: Tensor = model(input_ids, labels)[0]
    return summed


def whole_loss(model: Any, input_ids: Tensor, labels: Tensor) -> Tensor:
    """Give the loss of float32 logits, as it is usually written."""
    logits = model(input_ids, use_cache=False).logits.float()
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")


def plain_model(recipe: TrainingRecipe) -> Any:
    """Give the recipe's model with transformers' own output layer."""
    model = build_model(recipe, tokenizer_of(recipe))
    weight = model.lm_head.weight
    model.lm_head = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    model.lm_head.weight = weight
    return model


def tokenizer_of(recipe: TrainingRecipe) -> Any:
    """Open the recipe's tokenizer."""
    return open_tokenizer(Path(str(recipe.model.tokenizer)))


def rows_of(recipe: TrainingRecipe) -> list[dict[str, Tensor]]:
    """Give all rows of a recipe as Trainer's models take them; the labels are shifted already."""
    return [
        {"input_ids": input_ids, "labels": labels, "shift_labels": labels}
        for batch in steps_of(recipe)
        for input_ids, labels in zip(torch.from_numpy(batch.input_ids), torch.from_numpy(batch.labels), strict=True)
    ]


def steps_of(recipe: TrainingRecipe) -> Iterator[StepBatch]:
    """Read the steps that our loop trains on."""
    batches = LaneBatches(open_mixture(recipe, tokenizer_of(recipe)), rank=0, num_ranks=1)
    for _ in range(recipe.steps):
        yield batches.next_step()


OURS, TRAINER, BARE, BARE_WHOLE = "ours", "Trainer with DeepSpeed", "bare loop, our loss", "bare loop, whole logits"
CONTENDERS: dict[str, Callable[[TrainingRecipe, Pacer], None]] = {
    OURS: train_ours,
    TRAINER: train_with_trainer,
    BARE: lambda recipe, pacer: train_bare(recipe, pacer, chunked_loss),
    BARE_WHOLE: lambda recipe, pacer: train_bare(recipe, pacer, whole_loss),
}
