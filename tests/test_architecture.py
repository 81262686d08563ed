"""Who may import whom: the seam between the two halves is held here, by reading the imports."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

# What data_prep may use of codellama_train: places that need no torch.
SHARED = (
    "codellama_train.tokens",
    "codellama_train.recipe",
    "codellama_train.artifacts",
    "codellama_train.console",
)
HOMELESS = {"utils.py", "common.py", "helpers.py", "misc.py"}


def imports_of(path):
    """Name every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def python_files(project, folder):
    return sorted((project / folder).rglob("*.py"))


def test_data_prep_uses_only_what_needs_no_torch(project):
    for path in python_files(project, "data_prep"):
        for name in imports_of(path):
            assert not name.startswith(("torch", "transformers", "deepspeed")), (path, name)
            assert not name.startswith("codellama_train.") or name.startswith(SHARED), (path, name)


def test_codellama_train_never_imports_data_prep(project):
    for path in python_files(project, "codellama_train"):
        assert not [name for name in imports_of(path) if name.split(".")[0] in ("data_prep", "scripts")], path


def test_every_module_of_data_prep_imports_where_torch_cannot(project):
    modules = [
        ".".join(path.relative_to(project).with_suffix("").parts).removesuffix(".__init__")
        for path in python_files(project, "data_prep")
    ]
    shared = ["codellama_train.tokens.batches", "codellama_train.recipe.lineage", "codellama_train.run_folder"]
    shared += ["codellama_train.run_state", "codellama_train.stage_runs", "codellama_train.stage_tree"]
    program = "import sys, importlib; sys.modules['torch'] = None\n"
    program += "".join(f"importlib.import_module({name!r})\n" for name in modules + shared)
    subprocess.run([sys.executable, "-c", program], check=True, cwd=project)


def test_packages_are_empty_and_every_function_has_a_home(project):
    for folder in ("codellama_train", "data_prep"):
        for path in python_files(project, folder):
            assert path.name not in HOMELESS, path
            assert path.name != "__init__.py" or not path.read_text(), path


@pytest.mark.parametrize("folder", ["codellama_train", "data_prep", "scripts"])
def test_files_and_functions_stay_short(project, folder):
    for path in python_files(project, folder):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 300, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 50, f"{path}:{node.lineno} {node.name}"
