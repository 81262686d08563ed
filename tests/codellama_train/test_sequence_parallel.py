"""Processes that share sequences against one that has them whole: attention, models, real runs, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from launching import PROJECT, read_metrics, relative_distance, train, write_mixed_recipe, write_recipe
from sequence_processes import LENGTH, check_all, on_processes, random_model
from test_lora import BASE_ROWS, adapter_of, random_llama, write_lora_recipe
from test_train import VALIDATION, check_against, check_validation, held_out_of, reference_run

from codellama_train.console import UserError
from codellama_train.distributed import Processes
from codellama_train.loss import TrainingModel
from codellama_train.model import load_tokenizer
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.sequence_parallel import share_sequences
from codellama_train.sequence_slices import SequenceShare, SlicedBatches
from codellama_train.tiled_mlp import run_in_tiles
from codellama_train.tokens.batches import LaneBatches, open_mixture

ALONE = Processes(rank=0, num_ranks=1, device=torch.device("cpu"))
TIGHT = {"loss": 1e-3, "norm": 1e-2}  # doubled gradients would show in norms, not in what AdamW makes of them


@pytest.mark.parametrize("num_processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_slices_are_as_whole_sequences(num_processes):
    on_processes(check_all, num_processes)


@pytest.fixture(scope="module")
def mixed_recipe(tmp_path_factory, training_data, tokenizer):
    """The small recipe with documents apart, and dialogues, of which little is predicted: slices differ in it."""
    return write_mixed_recipe(tmp_path_factory.mktemp("mixed"), data=training_data, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def mixed_run(mixed_recipe):
    """That recipe trained by two processes that share sequences."""
    train(mixed_recipe, ["machine.sequence_parallel=2"])
    return mixed_recipe.parent / "runs/mixed"


def reference_of(recipe: Path, overrides: Sequence[str] = ()):
    loaded = load(TrainingRecipe, recipe, overrides)
    return reference_run(loaded, load_tokenizer(loaded.model))


@pytest.fixture(scope="module")
def mixed_reference(mixed_recipe):
    return reference_of(mixed_recipe)


def test_documents_apart_and_dialogues_equal_plain_torch(mixed_run, mixed_reference):
    check_against(mixed_reference, mixed_run, **TIGHT)


def test_a_run_goes_on_with_whole_sequences(mixed_run, mixed_reference, tmp_path):
    copy = tmp_path / "runs/mixed"
    shutil.copytree(mixed_run, copy, ignore=shutil.ignore_patterns("final"))
    recipe = tmp_path / "mixed.toml"
    recipe.write_text(
        (mixed_run.parents[1] / "mixed.toml").read_text().replace(f"{mixed_run.parent}", f"{copy.parent}")
    )
    assert "continuing after step 8" in train(recipe)
    check_against(mixed_reference, copy, **TIGHT)
    ours, theirs = read_metrics(copy), read_metrics(mixed_run)
    for counts in ("tokens_by_source", "epochs_by_source", "infilled_tokens_fraction"):
        assert [record[counts] for record in ours] == [record[counts] for record in theirs]


# Matrices large enough to be cut up by ZeRO 3, and a rate at which rounding does not grow.
WIDE = ["hidden_size=320", "intermediate_size=320", "initializer_range=0.03"]
WIDE = [f"model.architecture.{each}" for each in WIDE] + ["optimizer.peak_learning_rate=1e-3"]


@pytest.mark.parametrize(
    ("stage", "processes", "machine"),
    [
        (3, 2, ["machine.activation_checkpointing=true", "machine.mlp_tile_tokens=20"]),
        pytest.param(1, 2, [], marks=pytest.mark.slow),
        pytest.param(3, 2, [], marks=pytest.mark.slow),
        pytest.param(2, 4, ["machine.sequences_per_device=2"], marks=pytest.mark.slow),
        pytest.param(3, 4, [], marks=pytest.mark.slow),
    ],
)
def test_every_zero_stage_equals_plain_torch(
    stage, processes, machine, training_data, data_folder, tokenizer, tmp_path
):
    """Two groups of two where there are four processes."""
    recipe = write_recipe(tmp_path / "mini.toml", runs=tmp_path / "runs", data=training_data)
    recipe.write_text(recipe.read_text() + VALIDATION.format(data=data_folder))
    wide = WIDE if stage == 3 else []
    train(recipe, ["machine.sequence_parallel=2", f"machine.zero_stage={stage}", *machine, *wide], processes=processes)
    check_against(reference_of(recipe, wide), tmp_path / "runs/mini", **TIGHT)
    check_validation(held_out_of(load(TrainingRecipe, recipe, wide), tokenizer), tmp_path / "runs/mini")


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_adapters_learn_the_same_from_shared_sequences(stage, training_data, tokenizer, tmp_path):
    base = tmp_path / "base"
    width = 384 if stage == 3 else 32  # six heads of matrices large enough to be cut up, or two
    random_llama(rows=BASE_ROWS, tied=True, hidden_size=width).bfloat16().save_pretrained(base)
    tokenizer.save(base)
    recipe = write_lora_recipe(tmp_path, training_data, base, kind="dora")
    whole, shared = (
        (f"runs={tmp_path}/{name}", f"machine.sequence_parallel={devices}", f"machine.zero_stage={stage}")
        for name, devices in (("whole", 1), ("shared", 2))
    )
    for overrides in (whole, shared):
        train(recipe, overrides)
    theirs, ours = (read_metrics(tmp_path / name / "adapters") for name in ("whole", "shared"))
    assert [record["loss"] for record in ours] == pytest.approx([record["loss"] for record in theirs], rel=5e-3)
    assert [record["gradient_norm"] for record in ours] == pytest.approx(
        [record["gradient_norm"] for record in theirs], rel=3e-2
    )
    distance = relative_distance(*(adapter_of(tmp_path / name / "adapters") for name in ("shared", "whole")))
    assert distance < (0.05 if stage == 3 else 0.02)


def test_slices_of_a_step_make_up_the_step(mixed_recipe, tokenizer):
    mixture = open_mixture(load(TrainingRecipe, mixed_recipe), tokenizer)
    whole = LaneBatches(mixture, rank=0, num_ranks=1).next_step()
    ranks = [Processes(rank=rank, num_ranks=4, device=ALONE.device) for rank in range(4)]
    shares = [SequenceShare(place=rank % 2, num_slices=2) for rank in range(4)]
    batches = [
        SlicedBatches(mixture, share=share, processes=processes, states=None)
        for share, processes in zip(shares, ranks, strict=True)
    ]
    parts = [each.next_step() for each in batches]
    for name in ("input_ids", "labels", "source", "infilled"):
        groups = [
            np.concatenate([getattr(part, name) for part in parts[start : start + 2]], axis=1) for start in (0, 2)
        ]
        assert np.array_equal(np.concatenate(groups), getattr(whole, name))
    assert sum(part.num_predicted for part in parts) == whole.num_predicted
    assert len({part.num_predicted for part in parts}) > 1
    assert parts[0].states + parts[1].states + parts[2].states + parts[3].states == whole.states
    assert [each.states for each in batches] == [part.states for part in parts]
    for number, part in enumerate(parts):
        for row, segments in enumerate(part.segments):
            assert [segment.start for segment in segments] == [0, *(segment.stop for segment in segments[:-1])]
            assert segments[-1].stop == 32
            for segment in segments:
                column = segment.start + 32 * (number % 2)
                of_row = whole.segments[row + 2 * (number // 2)]
                (cut,) = (each for each in of_row if each.start <= column < each.stop)
                assert segment.origin == cut.origin
                assert segment.offset - cut.offset == column - cut.start


def test_positions_of_a_slice_are_those_of_its_columns():
    share, slices = SequenceShare(place=1, num_slices=2), torch.zeros(1, 3)
    assert share.position_ids(slices, None).tolist() == [[3, 4, 5]]
    assert share.position_ids(slices, torch.tensor([[0, 1, 2, 3, 0, 1]])).tolist() == [[3, 0, 1]]


def note_width(widths: list[int], _module, _inputs, output) -> None:
    widths.append(output.shape[0])


def test_tiles_give_the_same_gradients():
    input_ids = torch.randint(50, (2, LENGTH), generator=torch.Generator().manual_seed(3))
    for kind in ("plain", "checkpointing", "lora"):
        _, expected = random_model(kind)
        model, tiled = random_model(kind)
        run_in_tiles(model, tile_tokens=20)  # tiles of 20, 20 and 8 tokens, and across rows
        widths: list[int] = []
        model.model.layers[0].mlp.act_fn.register_forward_hook(partial(note_width, widths))
        losses = []
        for each in (expected, tiled):
            loss, _ = TrainingModel(each)(input_ids, input_ids)
            loss.backward()
            losses.append(loss)
        assert set(widths) == {20, 8}
        torch.testing.assert_close(*losses)
        for ours, theirs in zip(tiled.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_heads_that_do_not_divide_are_refused():
    model, _ = random_model("plain")
    with pytest.raises(UserError, match=r"machine\.sequence_parallel=3 does not divide the model's 4 attention heads"):
        share_sequences(model, 3, Processes(rank=0, num_ranks=3, device=ALONE.device))


def test_sequences_that_do_not_divide_are_refused(training_data, tmp_path):
    path = write_recipe(tmp_path / "mini.toml", runs=tmp_path / "runs", data=training_data)
    with pytest.raises(UserError, match=r"machine\.sequence_parallel=3 does not divide data\.sequence_length=64"):
        load(TrainingRecipe, path, ["machine.sequence_parallel=3"])


def test_devices_that_do_not_divide_are_refused_before_anything_is_written(training_data, tmp_path):
    path = write_recipe(tmp_path / "mini.toml", runs=tmp_path / "runs", data=training_data)
    for options in ([], ["--dry-run"]):
        command = [sys.executable, "scripts/train.py", str(path), "machine.sequence_parallel=2", *options]
        refused = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
        assert refused.returncode == 2, refused.stderr
        assert "error: machine.sequence_parallel=2 does not divide the number of devices, 1," in refused.stderr
        assert "Traceback" not in refused.stderr
    assert not (tmp_path / "runs").exists()
