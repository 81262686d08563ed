"""What a checkpoint is said to need is what it takes, and a disk that cannot hold one is told at the start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product

import pytest
from launching import PROJECT, write_recipe

# One process; saving with each layout and printing what was foretold and what is there. At stage 1, gradients that
# accumulate (four sequences, one at a time) come with another optimizer.
SAVES = """
import json, sys
from pathlib import Path
import torch
from codellama_train import checkpoint
from codellama_train.disk_space import checkpoint_bytes
from codellama_train.distributed import start_processes
from codellama_train.engine import start_engine
from codellama_train.lora import adapted
from codellama_train.loss import TrainingModel
from codellama_train.model import build_model, load_tokenizer
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe

processes = start_processes()
for stage, sequences, lora in json.loads(sys.argv[2]):
    table = [f"lora={{rank=64, alpha=64, target_modules=['q_proj', 'down_proj']}}"] if lora else []
    shape = ["model.architecture.hidden_size=256", "model.architecture.intermediate_size=512"]
    machine = [f"machine.zero_stage={stage}", f"machine.sequences_per_device={sequences}"]
    recipe = load(TrainingRecipe, Path(sys.argv[1]), [*shape, *machine, *table])
    tokenizer = load_tokenizer(recipe.model)
    model = build_model(recipe, tokenizer)
    trained = TrainingModel(adapted(model, recipe, tokenizer))
    engine = start_engine(trained, model.config, recipe=recipe, processes=processes)
    ids = torch.zeros(sequences, 8, dtype=torch.long)
    for _ in range(4 // sequences):
        loss, _ = engine(ids, ids, None)
        engine.backward(loss, scale_wrt_gas=False)
        engine.step()
    foretold = checkpoint_bytes(engine)
    position = checkpoint.Position(step=1, lanes=[], unlogged_sums=[])
    checkpoint.save(recipe, engine, position=position, processes=processes)
    files = [path for path in checkpoint.saved(recipe.run_dir)[0].rglob("*") if path.is_file()]
    taken = sum(path.stat().st_size for path in files)
    print(json.dumps([stage, sequences, lora, foretold.least, foretold.about, taken]))
"""


def test_a_checkpoint_takes_the_room_that_was_foretold(training_data, tmp_path):
    recipe = write_recipe(tmp_path / "mini.toml", runs=tmp_path / "runs", data=training_data)
    layouts = list(product((1, 2, 3), (1, 4), (False, True)))
    printed = subprocess.run(
        [sys.executable, "-c", SAVES, str(recipe), json.dumps(layouts)],
        cwd=PROJECT,
        env={**os.environ, "DS_ACCELERATOR": "cpu"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rows = [json.loads(line) for line in printed.splitlines() if line.startswith("[")]
    assert [tuple(row[:3]) for row in rows] == layouts
    for *layout, least, about, taken in rows:
        assert least <= taken, layout
        assert about == pytest.approx(taken, rel=0.2), layout


def test_a_disk_that_holds_no_checkpoint_is_told_at_the_start(mount_disk, training_data, tmp_path):
    disk = mount_disk("400k")
    recipe = write_recipe(tmp_path / "mini.toml", runs=disk, data=training_data)
    command = [sys.executable, "scripts/train.py", str(recipe)]
    result = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    assert result.returncode == 2, result.stderr[-4000:]
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: the checkpoint due after step 4 cannot fit: it needs more than ")
    assert last.endswith(f" are free at {disk / 'mini'}; make room, or set runs to a folder on a larger disk")
    assert "step 3/12" not in result.stderr
