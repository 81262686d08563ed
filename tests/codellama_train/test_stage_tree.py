"""How stages are drawn: every shipped family with its numbers, in a file and in a narrow terminal alike."""

from __future__ import annotations

import subprocess
import sys

import pytest

from codellama_train.recipe.lineage import load_stages, with_ancestors
from codellama_train.run_state import RunState
from codellama_train.stage_tree import describe, format_rate, format_tokens, notes, print_stages, summarize

SEVEN = """\
                                        tokens    steps  context  RoPE base  learning rate  state
└── meta-llama/Llama-2-7b-hf
    ├── 7b/code                           500B  119,209    4,096     10,000    3e-4 → 1e-5  absent
    │   └── 7b/long_context              6.29B    3,000   16,384  1,000,000  2e-5 → 6.7e-7  absent
    │       └── 7b/instruct                 5B    9,537   16,384  1,000,000    2e-5 → 2e-6  absent
    └── 7b/code_without_infilling         500B  119,209    4,096     10,000    3e-4 → 1e-5  absent
        └── 7b/python                     100B   23,842    4,096     10,000  1e-4 → 3.3e-6  absent
            └── 7b/python_long_context     21B   10,000   16,384  1,000,000  2e-5 → 6.7e-7  absent

6 stages, 1.13T tokens, of which 0 are trained; 6 absent
"""


def untrained(stages):
    return dict.fromkeys(with_ancestors(stages), RunState("absent"))


def test_the_7b_family_is_drawn_as_the_papers_graph(project, capsys):
    stages = load_stages([project / "recipes/7b"])
    print_stages(stages, untrained(stages))
    assert capsys.readouterr().out == SEVEN


def test_a_recipe_is_drawn_with_its_ancestors_alone(project, capsys):
    stages = load_stages([project / "recipes/7b/python.toml"])
    print_stages(stages, untrained(stages))
    drawn = capsys.readouterr().out
    assert [name for name in ("code", "code_without_infilling", "python", "instruct") if f"─ 7b/{name} " in drawn] == [
        "code_without_infilling",
        "python",
    ]


def families(project):
    return sorted({path.parent for path in project.glob("recipes/**/code.toml")} | {project / "recipes/ablations"})


def test_every_shipped_family_is_drawn_whole(project, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert len(families(project)) >= 4
    for family in families(project):
        if family.name == "data":
            continue
        stages = load_stages([family])
        print_stages(stages, untrained(stages))
        lines = capsys.readouterr().out.splitlines()
        for stage in stages:
            (line,) = (line for line in lines if f"─ {stage.recipe.name} " in line)
            assert f"  {stage.recipe.steps:,}  " in line
            assert f"  {stage.recipe.data.sequence_length:,}  " in line
            assert line.endswith("  absent")


def test_states_are_told_in_words(project):
    (stage,) = load_stages([project / "recipes/tiny/base.toml"])
    said = {
        RunState("running", "by process 7", step=293, seconds_left=75.0, tokens_per_second=9184.2): (
            "running, step 293 (25%), 9,184 tokens/s, 1 min 15 s left"
        ),
        RunState("running", "by process 7"): "running, step 0 (0%)",
        RunState("stopped", "resumes from step-000250", step=586, seconds_left=300_000): (
            "stopped, step 586 (50%), 3 days 11 h left"
        ),
        RunState("complete", step=1172, seconds=157.2): "complete, 2 min 37 s of training",
        RunState("stale", "its recipe has changed"): "stale",
        RunState("waiting"): "waiting",
    }
    for state, words in said.items():
        assert describe(state, stage.recipe) == words


def test_totals_and_notes_say_what_is_done_and_what_stands_in_the_way(project):
    base, *others = load_stages([project / "recipes/tiny"])
    states = dict.fromkeys(others, RunState("waiting", "for shards")) | {base: RunState("complete", step=1172)}
    stages = [base, *others]
    assert summarize(stages, states) == "8 stages, 3.9M tokens, of which 1.2M are trained; 1 complete, 7 waiting"
    names = ", ".join(stage.recipe.name for stage in others)
    assert notes(stages, states) == [f"{names}: waiting for shards"]
    states[base] = RunState("stale", "its recipe has changed", step=100)
    assert notes(stages, states)[0] == "tiny/base: stale, its recipe has changed"


@pytest.mark.parametrize(
    ("tokens", "text"),
    [(0, "0"), (999, "999"), (999_999, "1M"), (6_291_456_000, "6.29B"), (1_131_200_000_000, "1.13T")],
)
def test_tokens_have_three_digits(tokens, text):
    assert format_tokens(tokens) == text


def test_rates_are_written_as_recipes_do():
    assert [format_rate(rate) for rate in (3e-4, 1.5e-4, 2e-5 / 30, 1.0)] == ["3e-4", "1.5e-4", "6.7e-7", "1e0"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["recipes/nowhere"], "there is no recipe at recipes/nowhere"),
        (["recipes/data"], "recipes/data holds no training recipe"),
        (["recipes"], "recipes holds no training recipe; there are some in recipes/13b, recipes/34b"),
        (["recipes/7b", "optimizer.weight_decy=1"], "did you mean 'optimizer.weight_decay'?"),
        (["recipes/7b", "model.rope_theta=1e4"], "raise model.rope_theta above 10,000"),
        (["recipes/7b", "runs={runs}", "--run"], "waits for data.sources.code.shards="),
        (["recipes/7b", "--run", "--num-accelerators", "0"], "--num-accelerators"),
    ],
)
def test_what_a_person_gave_wrong_is_told_in_one_sentence(project, tmp_path, arguments, sentence):
    given = [text.format(runs=tmp_path / "runs") for text in arguments]
    done = subprocess.run(
        [sys.executable, "scripts/lineage.py", *given], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
