"""A family of runs as they are left: random models, really evaluated, and made-up training records."""

from __future__ import annotations

import json

import pytest

from codellama_train import artifacts
from codellama_train.evaluation.run import evaluate
from codellama_train.evaluation.targets import Target
from codellama_train.recipe.evaluation import EvaluationRecipe

RUNS = {  # name: (seed, trained length, starts from, infilling, steepness of the loss)
    "base": (1, 128, None, False, 2.0),
    "code": (2, 128, "base", True, 2.0),
    "code_without_infilling": (3, 128, "base", False, 3.0),
    "code_from_scratch": (4, 128, None, False, 1.0),
    "long_context": (5, 256, "code", True, 2.0),
    "instruct": (6, 256, "long_context", False, 2.0),
}
DATA_REPORT = {
    "recipe": "data/tiny",
    "stages": {
        "ingest": {"code": {"documents_out": 1234, "bytes_out": 5_000_000}},
        "filter": {"code": {"documents_in": 1234, "documents_out": 1100, "bytes_out": 4_000_000}},
        "tag": {},
    },
    "removed": {
        "filter": {
            "code": {
                "longest_line above 1000": {
                    "documents": 134,
                    "bytes": 1_000_000,
                    "samples": [{"path": "a/<b>.py", "text": "<script>alert(1)</script>"}],
                }
            }
        },
        "tag": {},
    },
    "clusters": {
        "clusters": {"count": 7, "documents": 15},
        "searched_documents": 1100,
        "candidate_pairs": 20,
        "verified_pairs": 9,
    },
    "decontamination": {"humaneval": {"items": 164, "items_hit": 1, "documents_by_item": {"HumanEval/13": 2}}},
    "shards": {
        "code": {
            "train": {"documents": 1000, "tokens": 50_000, "bytes_per_token": 2.41},
            "held_out": {"documents": 100, "tokens": 5_000, "bytes_per_token": 2.4},
        }
    },
    "held_out": {"code": {"repositories": ["click", "rich"]}},
    "seconds": {"ingest": 12.3, "filter": 0.1},
}


def recipe_text(name):
    _, length, parent, infilling, _ = RUNS[name]
    lines = ["[model]", "rope_theta = 10000.0"]
    lines += [f'init_from = "runs/tiny/{parent}/final"'] if parent else []
    lines += ["[data]", f"sequence_length = {length}", "seed = 2"]
    lines += ["[data.sources.code]", 'shards = "x"', "share = 0.85"]
    lines += ["[data.sources.language]", 'shards = "y"', "share = 0.15"]
    lines += ["[data.infilling]", "rate = 0.9"] if infilling else []
    return "\n".join([*lines, "[batch]", "tokens_per_step = 1024", "total_tokens = 40960"]) + "\n"


def metrics_text(name):
    steepness, infilling = RUNS[name][4], RUNS[name][3]
    records = [
        {
            "step": step,
            "tokens": step * 1024,
            "loss": 3.0 + 4.0 / (1 + steepness * step / 10),
            "tokens_per_second": 5000.0,
            "seconds_per_step": 0.3,
            "epochs_by_source": {"code": step / 100, "language": step / 1000},
            "infilled_tokens_fraction": 0.71 if infilling else None,
        }
        for step in range(2, 41, 2)
    ]
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture(scope="session")
def finished_family(tmp_path_factory, tokenizer, data_folder, save_model):
    """A pipeline folder with everything in it. Tests that change it take a copy."""
    runs = tmp_path_factory.mktemp("family") / "runs"
    recipe = EvaluationRecipe.model_validate(
        {
            "name": "tiny/evaluation",
            "data": str(data_folder),
            "seed": 0,
            "bootstrap_resamples": 200,
            "machine": {"dtype": "float32", "tokens_per_batch": 4096},
            "loss": {"documents": {"code": 12, "language": 6, "dialogues": 6}, "sequence_length": 64},
            "infilling": {
                "source": "code",
                "items": 8,
                "generated_items": 4,
                "longest_document": 200,
                "max_new_tokens": 6,
            },
            "positions": {
                "source": "code_files",
                "windows": {"short": {"tokens": 256, "files": 4}},
                "times_trained_length": 4,
                "inference_rope_theta": 1e6,
            },
            "key_retrieval": {
                "source": "code",
                "lengths": [256],
                "positions": [0.0, 0.5],
                "prompts": 2,
                "times_trained_length": 4,
            },
            "samples": {"completions_of": "code", "answers_to": "dialogues", "items": 2, "max_new_tokens": 6},
        }
    )
    for name, (seed, length, *_) in RUNS.items():
        folder = runs / "tiny" / name
        save_model(folder / "final", tokenizer, seed=seed, trained_length=length)
        (folder / "recipe.toml").write_text(recipe_text(name))
        (folder / "metrics.jsonl").write_text(metrics_text(name))
        artifacts.write_json(folder / "source.json", {"launches": [{"commit": "abc123", "packages": {"torch": "2"}}]})
        evaluate(recipe, Target(folder / "final", folder))
    artifacts.write_json(runs / "data/tiny/data_report.json", DATA_REPORT)
    return runs / "tiny"
