"""Real runs of the loop: DeepSpeed with two processes on the processor, against plain torch and against itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from launching import kill_when, read_metrics, relative_distance, start_training, train, write_recipe
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModelForCausalLM

from codellama_train import artifacts
from codellama_train.model import build_model, restore_rotary_precision
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.schedule import learning_rate
from codellama_train.tokens.batches import LaneBatches, StepBatch, open_mixture
from codellama_train.tokens.held_out_rows import held_out_rows
from codellama_train.tokens.rows import IGNORED

VALIDATION = """
[validation]
every_steps = 6
sequences_per_source = 5
[validation.shards]
code = "{data}/shards/code/held_out"
dialogues = "{data}/shards/dialogues/held_out"
"""


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, training_data, data_folder):
    """The recipe trained without interruption on two processes."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = write_recipe(folder / "whole.toml", runs=folder / "runs", data=training_data)
    recipe.write_text(recipe.read_text() + VALIDATION.format(data=data_folder))
    return recipe, folder / "runs/whole", train(recipe)


def another(recipe: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Give the same recipe with a run folder of its own."""
    copy = tmp_path / "whole.toml"
    copy.write_text(recipe.read_text().replace(f'runs = "{recipe.parent}/runs"', f'runs = "{tmp_path}/runs"'))
    return copy, tmp_path / "runs/whole"


def final_weights(run_dir: Path) -> str:
    return artifacts.sha256_of(run_dir / "final/model.safetensors")


def reference_run(
    recipe: TrainingRecipe, tokenizer, *, dtype: torch.dtype = torch.bfloat16
) -> tuple[list[float], list[float], dict[int, dict[str, torch.Tensor]]]:
    """Train in plain torch: bfloat16 weights by default, float32 master copies, whole-batch loss.

    Gives losses, gradient norms and, after some steps, the weights.
    """
    model = build_model(recipe, tokenizer)
    master = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    model = model.to(dtype)
    restore_rotary_precision(model, model.config)
    groups = [
        {"params": [weight for weight in master.values() if weight.dim() >= 2], "weight_decay": 0.1},
        {"params": [weight for weight in master.values() if weight.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=recipe.optimizer.betas, eps=recipe.optimizer.epsilon)
    batches = LaneBatches(open_mixture(recipe, tokenizer), rank=0, num_ranks=1)
    losses, norms, snapshots = [], [], {}
    for step in range(1, recipe.steps + 1):
        batch = batches.next_step()
        model.zero_grad()
        logits = reference_logits(model, batch, apart=recipe.data.document_mask).float()
        loss = functional.cross_entropy(
            logits.flatten(0, 1), torch.from_numpy(batch.labels).flatten(), ignore_index=IGNORED
        )
        loss.backward()
        for name, weight in model.named_parameters():
            master[name].grad = weight.grad.float()
        norms.append(float(torch.nn.utils.clip_grad_norm_(list(master.values()), recipe.optimizer.gradient_clipping)))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe.optimizer, steps=recipe.steps)
        optimizer.step()
        losses.append(loss.item())
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(master[name])
        if step in (8, 12):
            snapshots[step] = {name: weight.detach().float().clone() for name, weight in model.named_parameters()}
    return losses, norms, snapshots


def reference_logits(model, batch: StepBatch, *, apart: bool) -> torch.Tensor:
    """Run whole rows; in one row, without a cache, transformers keeps documents apart whose positions restart."""
    input_ids, positions = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.positions)
    if not apart:
        return model(input_ids).logits
    rows = zip(input_ids.split(1), positions.split(1), strict=True)
    return torch.cat([model(row, position_ids=at, use_cache=False).logits for row, at in rows])


@pytest.fixture(scope="module")
def reference(whole_run, tokenizer):
    return reference_run(load(TrainingRecipe, whole_run[0]), tokenizer)


@pytest.fixture(scope="module")
def held_out(whole_run, tokenizer):
    return held_out_of(load(TrainingRecipe, whole_run[0]), tokenizer)


def held_out_of(recipe: TrainingRecipe, tokenizer):
    """Read what the recipe's validation measures."""
    return {
        name: held_out_rows(name, folder, tokenizer=tokenizer, sequence_length=64, num_rows=5, document_mask=False)
        for name, folder in recipe.validation.shards.items()
    }


def check_against(reference, run_dir: Path, *, loss: float = 5e-3, norm: float = 3e-2) -> None:
    """Compare a run of 12 steps: losses, gradient norms and the weights at the end."""
    losses, norms, weights = reference
    records = read_metrics(run_dir)
    every = 12 // len(records)  # steps that a line of metrics covers
    windows = [losses[start : start + every] for start in range(0, 12, every)]
    assert [record["loss"] for record in records] == pytest.approx([sum(part) / every for part in windows], rel=loss)
    assert [record["gradient_norm"] for record in records] == pytest.approx(norms[every - 1 :: every], rel=norm)
    assert relative_distance(load_file(run_dir / "final/model.safetensors"), weights[12]) < 0.02


def check_validation(held_out, run_dir: Path) -> None:
    """Compare validation after steps 6 and 12 of lines of metrics every third."""
    records = read_metrics(run_dir)
    assert [bool(record["validation_loss_by_source"]) for record in records] == [False, True, False, True]
    final = AutoModelForCausalLM.from_pretrained(run_dir / "final", dtype=torch.bfloat16)
    plain = {source: plain_loss(final, rows) for source, rows in held_out.items()}
    assert records[-1]["validation_loss_by_source"] == pytest.approx(plain, rel=1e-5)


@torch.no_grad()
def plain_loss(model, rows) -> float:
    """Give nats per predicted token as transformers' own forward has them."""
    total, count = 0.0, 0
    for row in rows:
        logits, labels = model(torch.from_numpy(row.input_ids)[None]).logits[0].float(), torch.from_numpy(row.labels)
        total += float(functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
        count += int((labels != IGNORED).sum())
    return total / count


def test_two_processes_with_zero_2_equal_plain_torch(whole_run, reference, held_out):
    check_against(reference, whole_run[1])
    check_validation(held_out, whole_run[1])


@pytest.mark.parametrize(("stage", "activation_checkpointing"), [(1, "false"), (3, "true")])
def test_other_zero_stages_equal_plain_torch(stage, activation_checkpointing, whole_run, reference, held_out, tmp_path):
    recipe, run_dir = another(whole_run[0], tmp_path)
    train(recipe, [f"machine.zero_stage={stage}", f"machine.activation_checkpointing={activation_checkpointing}"])
    check_against(reference, run_dir)
    check_validation(held_out, run_dir)


def test_one_process_without_a_launcher_equals_plain_torch(whole_run, reference, held_out, tmp_path, project):
    recipe, run_dir = another(whole_run[0], tmp_path)
    command = [sys.executable, "scripts/train.py", str(recipe), "machine.sequences_per_device=3"]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    check_against(reference, run_dir)
    check_validation(held_out, run_dir)


def test_validation_changes_nothing_that_is_learned(whole_run, tmp_path):
    recipe, run_dir = another(whole_run[0], tmp_path)
    recipe.write_text(recipe.read_text().split("[validation]")[0])
    train(recipe)
    assert final_weights(run_dir) == final_weights(whole_run[1])
    records = read_metrics(whole_run[1])
    assert all(record.pop("validation_loss_by_source", ...) is not ... for record in records)
    assert read_metrics(run_dir) == records


def test_the_console_says_what_was_measured(whole_run):
    line = next(line for line in whole_run[2].splitlines() if " step 6/12 " in line)
    assert re.search(r"loss \d\.\d+  held out: code \d\.\d+, dialogues \d\.\d+  rate", line), line


def test_a_validated_step_is_a_logged_step(whole_run, tmp_path, project):
    recipe, run_dir = another(whole_run[0], tmp_path)
    overrides = ["validation.every_steps=2", "batch.total_tokens=1_024"]
    subprocess.run([sys.executable, "scripts/train.py", str(recipe), *overrides], cwd=project, check=True)
    records = read_metrics(run_dir)
    assert [record["step"] for record in records] == [2, 3, 4]
    assert [bool(record["validation_loss_by_source"]) for record in records] == [True, False, True]


def test_metrics_say_what_was_learned_from_what(whole_run):
    records = read_metrics(whole_run[1])
    assert [record["step"] for record in records] == [3, 6, 9, 12]
    last = records[-1]
    assert last["tokens"] == 3_072
    assert last["loss"] < records[0]["loss"] - 1
    assert set(last["loss_by_source"]) == {"code", "language"}
    assert sum(last["tokens_by_source"].values()) == 3_072
    assert 0 < last["infilled_tokens_fraction"] < 1


def test_killed_run_resumes_to_the_same_weights(whole_run, tmp_path):
    recipe, run_dir = another(whole_run[0], tmp_path)
    kill_when(start_training(recipe), (run_dir / "checkpoints/step-000004").is_dir)
    assert not (run_dir / "final").exists()
    assert "continuing after step" in train(recipe)
    assert read_metrics(run_dir) == read_metrics(whole_run[1])
    assert final_weights(run_dir) == final_weights(whole_run[1])


def test_stopped_run_exits_cleanly_and_resumes_to_the_same_weights(whole_run, tmp_path):
    recipe, run_dir = another(whole_run[0], tmp_path)
    run_dir.mkdir(parents=True)
    (run_dir / "stop").touch()
    assert "stopped as asked after step 0" in train(recipe)
    assert not (run_dir / "stop").exists()
    train(recipe)
    assert read_metrics(run_dir) == read_metrics(whole_run[1])
    assert final_weights(run_dir) == final_weights(whole_run[1])


def test_a_complete_run_is_left_alone(whole_run, project):
    recipe, run_dir, _ = whole_run
    before = final_weights(run_dir)
    again = subprocess.run(
        [sys.executable, "scripts/train.py", str(recipe)], cwd=project, check=True, capture_output=True, text=True
    )
    assert "is complete" in again.stdout
    assert final_weights(run_dir) == before


def test_final_folder_loads_in_plain_transformers(whole_run):
    final = whole_run[1] / "final"
    model = AutoModelForCausalLM.from_pretrained(final, dtype=torch.bfloat16)
    config = json.loads((final / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 10_000.0
    assert model.config.max_position_embeddings == 64
    assert model.generation_config.use_cache
    artifacts.verify_manifest(final)


def test_a_checkpoint_exports_as_a_model_folder(whole_run, reference, tmp_path, project):
    command = [sys.executable, "scripts/export.py", str(whole_run[0]), str(tmp_path / "step-8")]
    printed = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout
    assert "wrote step 8 of whole" in printed
    assert relative_distance(load_file(tmp_path / "step-8/model.safetensors"), reference[2][8]) < 0.02
    again = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)
    assert again.returncode == 2
    assert "exists already" in again.stderr


@pytest.mark.slow
def test_lora_trains_adapters_and_merges_them(whole_run, tmp_path):
    base = whole_run[1] / "final"
    recipe, run_dir = another(whole_run[0], tmp_path)
    text = recipe.read_text()
    start, end = text.index("[model.architecture]"), text.index("[data]\n")
    lora = '[lora]\nrank = 4\nalpha = 8\ntarget_modules = ["q_proj", "down_proj"]\n'
    recipe.write_text(text[:start] + lora + text[end:])
    train(recipe, [f"model.init_from={base}", "machine.zero_stage=1"])
    before, after = load_file(base / "model.safetensors"), load_file(run_dir / "final/model.safetensors")
    changed = {name for name, weight in before.items() if not torch.equal(weight, after[name])}
    assert changed == {name for name in before if "q_proj" in name or "down_proj" in name}
    assert (run_dir / "final/adapter/adapter_model.safetensors").is_file()
