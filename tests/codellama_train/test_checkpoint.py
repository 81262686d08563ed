"""Which checkpoints stay, and how the work of reading them is shared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from launching import write_recipe

from codellama_train import checkpoint
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.shared_checksums import dealt


def test_checkpoints_are_listed_by_their_steps_not_by_their_names(tmp_path):
    for name in ("step-000900", "step-1000000", "step-999999", "step-000900-copy", ".step-000950.partial"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert [path.name for path in checkpoint.saved(tmp_path)] == ["step-1000000", "step-999999", "step-000900"]


def test_a_damaged_newer_checkpoint_does_not_push_out_the_one_just_saved(tmp_path):
    file = write_recipe(tmp_path / "mini.toml", runs=tmp_path / "runs", data=tmp_path)
    recipe = load(TrainingRecipe, file, ["machine.keep_checkpoints=1"])
    folder = recipe.run_dir / "checkpoints"
    for name in ("step-000004", "step-000008", ".step-000006.partial"):  # that of step 8 was passed over
        (folder / name).mkdir(parents=True)
    checkpoint.publish(folder / ".step-000006.partial", folder / "step-000006", recipe)
    assert sorted(path.name for path in folder.iterdir()) == ["step-000006", "step-000008"]


@given(st.dictionaries(st.text(), st.integers(0, 1000)), st.integers(1, 9))
def test_files_are_dealt_whole_and_evenly(sizes, num_shares):
    shares = dealt(sizes, num_shares)
    assert sorted(name for share in shares for name in share) == sorted(sizes)
    loads = [sum(sizes[name] for name in share) for share in shares]
    assert max(loads) - min(loads) <= max(sizes.values(), default=0)
