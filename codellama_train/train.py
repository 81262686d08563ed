"""The training loop: one for every stage of the paper, which are next-token prediction with different numbers."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from codellama_train import checkpoint
from codellama_train.agreement import require_agreement, require_everywhere, require_shared_folder
from codellama_train.console import RunFailure
from codellama_train.disk_space import require_room
from codellama_train.distributed import gathered, start_processes, summed
from codellama_train.engine import micro_steps, place_model, set_learning_rate, start_engine
from codellama_train.export import export_run
from codellama_train.flops import ModelFlops, peak_flops, training_flops_per_token
from codellama_train.forward import forward_rows
from codellama_train.kernels import require_kernels, use_kernels
from codellama_train.lora import adapted
from codellama_train.loss import TrainingModel
from codellama_train.metrics import LossSums, MetricsLog, peak_memory_bytes
from codellama_train.model import assert_rope_theta, load_tokenizer
from codellama_train.not_finite import gradient_failure, loss_failure
from codellama_train.offload import require_drive
from codellama_train.planning.shape import shape_of_config
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.run_folder import claim, describe_software, lock
from codellama_train.schedule import learning_rate
from codellama_train.sequence_parallel import share_sequences
from codellama_train.sequence_slices import SlicedBatches
from codellama_train.shared_checksums import require_whole_base
from codellama_train.stopping import StopRequest
from codellama_train.tiled_mlp import run_in_tiles
from codellama_train.timing import StepTimer, slowest_rank
from codellama_train.tokens.batches import StepBatch, open_mixture
from codellama_train.tokens.lane_state import LaneState
from codellama_train.tokens.lanes import summarise
from codellama_train.trackers import require_trackers
from codellama_train.validation import Validator
from codellama_train.watchdog import Watchdog

logger = logging.getLogger(__name__)


@dataclass
class Window:
    """What has gathered since the last line of metrics."""

    sums: LossSums
    steps: int = 0


class Run:
    """A recipe being trained by this process and its peers."""

    def __init__(self, recipe: TrainingRecipe) -> None:
        self.recipe = recipe
        self.processes = start_processes()
        if not self.processes.is_first:
            logging.getLogger().setLevel(logging.ERROR)
        require_trackers(recipe)
        require_agreement(recipe)
        require_everywhere([partial(require_kernels, recipe.machine), partial(require_drive, recipe.machine)])
        require_whole_base(recipe, self.processes)
        self.tokenizer = load_tokenizer(recipe.model)
        self.tokenizer.for_transformers()  # refuses now, not after training, what cannot be exported
        self.mixture = open_mixture(recipe, self.tokenizer)
        model = place_model(recipe, self.tokenizer, self.processes)
        use_kernels(model, recipe.machine)
        share = share_sequences(model, recipe.machine.sequence_parallel, self.processes)
        self.validation = Validator(recipe, self.tokenizer, self.processes) if recipe.validation else None
        if recipe.machine.activation_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        if recipe.machine.mlp_tile_tokens:
            run_in_tiles(model, tile_tokens=recipe.machine.mlp_tile_tokens)
        trained = adapted(model, recipe, self.tokenizer)
        self.flops = self._count_flops(model)
        trained.train()  # a loaded model is in evaluation mode, in which activation checkpointing does nothing
        if self.processes.is_first:
            self.lock = lock(recipe.run_dir)
            claim(recipe, launch=self._describe_launch())
        require_shared_folder(recipe.run_dir, self.processes)
        self.engine = start_engine(TrainingModel(trained, share), model.config, recipe=recipe, processes=self.processes)
        assert_rope_theta(model, recipe.model.rope_theta)
        position = checkpoint.load_newest(recipe, self.engine, self.processes)
        if position is None and self.processes.is_first:
            self.mixture.verify_shards()
        self.step = position.step if position else 0
        self.saved_step = position.step if position else None
        require_room(recipe, self.engine, step=self.step, processes=self.processes)
        self.batches = SlicedBatches(
            self.mixture, share=share, processes=self.processes, states=position.lanes if position else None
        )
        self.window = Window(new_sums(self))
        if position is not None:
            self.window.sums.values += torch.tensor(
                position.unlogged_sums, dtype=torch.float64, device=self.processes.device
            )
        self.log = MetricsLog(recipe, resumed_step=self.step) if self.processes.is_first else None
        self.stop = StopRequest(recipe.run_dir)
        num_micro_steps = micro_steps(recipe, self.processes.num_ranks)
        self.watchdog = Watchdog(recipe.run_dir, rank=self.processes.rank, num_ignored=num_micro_steps)
        self.timer = StepTimer(self.processes.device)

    def _count_flops(self, model: Any) -> ModelFlops:
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        per_token = training_flops_per_token(
            shape_of_config(model.config.to_dict()),
            lora=self.recipe.lora,
            num_new_rows=0 if model.lm_head.row_ids is None else len(model.lm_head.row_ids),
            sequence_length=self.recipe.data.sequence_length,
        )
        return ModelFlops(per_token, name, peak_flops(name))

    def _describe_launch(self) -> dict[str, Any]:
        return {
            "num_ranks": self.processes.num_ranks,
            "device": self.flops.device_name,
            "model_flops": self.flops.as_record(),
            **describe_software(),
        }


def train(recipe: TrainingRecipe) -> None:
    """Train the recipe from wherever its run folder stands to its end, or until it is asked to stop."""
    run = Run(recipe)
    lanes = run.batches.states
    while run.step < recipe.steps:
        with run.timer.part("data_wait"):
            batch = run.batches.next_step()
        counts = summed(torch.tensor([batch.num_predicted, int(run.stop.is_made())], device=run.processes.device))
        sums = None if counts[1] else accumulate_gradients(run, batch, predicted_tokens=int(counts[0]))
        if sums is None:
            finish_early(run, lanes)
            return
        run.window.sums.values += sums.values
        run.step += 1
        set_learning_rate(run.engine, learning_rate(run.step, recipe.optimizer, steps=recipe.steps))
        with run.timer.part("update"):
            run.engine.step()
        if not run.engine.was_step_applied():  # DeepSpeed passes over, silently, what it cannot clip
            raise describe_gradient(run, batch, predicted_tokens=int(counts[0]))
        lanes = batch.states
        run.window.steps += 1
        if run.step % recipe.machine.log_every_steps == 0 or run.step == recipe.steps or is_validation_due(run):
            write_metrics(run, batch)
            run.window = Window(new_sums(run))
        if run.step % recipe.machine.save_every_steps == 0 and run.step < recipe.steps:
            save(run, lanes)
    finish(run)


def new_sums(run: Run) -> LossSums:
    """Give empty sums for the recipe's sources."""
    return LossSums(len(run.recipe.data.sources), run.processes.device)


def accumulate_gradients(run: Run, batch: StepBatch, *, predicted_tokens: int) -> LossSums | None:
    """Run forward and backward over this process's rows of a step, and give the losses of all processes.

    None where the processes were asked to stop meanwhile; a checkpoint holds nothing of the gradients until then.

    The gradient is that of the loss summed over the step's predicted tokens divided by their number on all devices, so
    short answers and padded rows weigh what they should. All but the update happens here; the caller makes that.
    """
    rows = run.recipe.machine.sequences_per_device
    last = micro_steps(run.recipe, run.processes.num_ranks) - 1
    sums, step_losses = new_sums(run), []
    # DeepSpeed averages over processes; this factor turns its average into a sum.
    scale = run.processes.num_ranks / predicted_tokens
    for micro_step in range(last + 1):
        if micro_step and summed(torch.tensor([int(run.stop.is_made())], device=run.processes.device)):
            return None
        part = slice(micro_step * rows, (micro_step + 1) * rows)
        input_ids, labels, source, infilled, positions = (
            torch.from_numpy(array[part]).to(run.processes.device)
            for array in (batch.input_ids, batch.labels, batch.source, batch.infilled, batch.positions)
        )
        with run.timer.part("forward"):
            loss, losses = forward_rows(run.engine, input_ids, labels, positions, recipe=run.recipe)
        with run.timer.part("backward"):
            run.engine.backward(loss * scale, scale_wrt_gas=False)
        sums.add(losses, labels, source=source, infilled=infilled)
        step_losses.append(losses)
        if micro_step < last:
            with run.timer.part("update"):
                run.engine.step()
        run.watchdog.beat()
    summed(sums.values)
    if not math.isfinite(sums.total_loss()):
        losses = torch.cat(step_losses)
        raise loss_failure(run.step + 1, batch, losses, sources=run.mixture.sources, processes=run.processes)
    return sums


def is_validation_due(run: Run) -> bool:
    """Tell whether the model is measured on held-out data after this step, which then has a line of metrics."""
    return run.validation is not None and run.validation.is_due(run.step)


def validate(run: Run) -> dict[str, Any]:
    """Give the keys of a record that belong to validation; None where none is due, no keys where none is asked for."""
    if run.validation is None:
        return {}
    if not run.validation.is_due(run.step):
        return {"validation_loss_by_source": None}
    with run.timer.excluded(), run.watchdog.suspended():
        return {"validation_loss_by_source": run.validation.measure(run.engine)}


def describe_gradient(run: Run, batch: StepBatch, *, predicted_tokens: int) -> RunFailure:
    """Say where the gradient of the step that was passed over is not finite."""
    return gradient_failure(
        run.step,
        batch,
        model=run.engine.module,
        run_again=lambda: accumulate_gradients(run, batch, predicted_tokens=predicted_tokens),
        sources=run.mixture.sources,
        processes=run.processes,
    )


def write_metrics(run: Run, batch: StepBatch) -> None:
    """Log the window: losses, rate, speed, and what the data has been so far."""
    lap = run.timer.lap()
    everywhere = gathered((list(batch.states), lap.by_part["forward"]))
    validation = validate(run)
    if run.log is None:
        return
    window, recipe = run.window, run.recipe
    tokens_per_second = window.steps * recipe.batch.tokens_per_step / lap.seconds
    run.log.write(
        {
            "step": run.step,
            "tokens": run.step * recipe.batch.tokens_per_step,
            **window.sums.as_record(list(recipe.data.sources)),
            **validation,
            "learning_rate": learning_rate(run.step, recipe.optimizer, steps=recipe.steps),
            "gradient_norm": float(run.engine.get_global_grad_norm()),
            "tokens_per_second": tokens_per_second,
            **run.flops.speed(tokens_per_second, num_devices=run.processes.num_ranks),
            **lap.per_step(window.steps),
            **slowest_rank([forward_seconds for _, forward_seconds in everywhere]),
            "peak_memory_bytes": peak_memory_bytes(run.processes.device),
            **summarise(run.mixture, [state for states, _ in everywhere for state in states]),
        }
    )


def save(run: Run, lanes: Sequence[LaneState]) -> None:
    """Write a checkpoint of the last update, unless there is one."""
    if run.saved_step == run.step:
        return
    position = checkpoint.Position(step=run.step, lanes=lanes, unlogged_sums=run.window.sums.values.tolist())
    with run.watchdog.suspended(), run.timer.part("saving"):
        checkpoint.save(run.recipe, run.engine, position=position, processes=run.processes)
    run.saved_step = run.step


def finish_early(run: Run, lanes: Sequence[LaneState]) -> None:
    """Obey a request to stop: save the last update and leave; the same command continues."""
    run.watchdog.stop()
    save(run, lanes)
    if run.processes.is_first:
        run.stop.settle()
    logger.info("stopped as asked after step %s of %s; the same command continues", run.step, run.recipe.steps)


def finish(run: Run) -> None:
    """Write the finished model."""
    run.watchdog.stop()
    export_run(run.recipe, run.engine, tokenizer=run.tokenizer, processes=run.processes)
    if run.processes.is_first:
        run.stop.forget()  # asked for in the last step or since, it is obeyed by having ended
    if run.log is not None:
        run.log.finish()
