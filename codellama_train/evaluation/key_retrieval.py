"""Probe: key retrieval, the paper's test of long contexts in miniature (appendix G.2)."""

from __future__ import annotations

import random
from typing import Any

from codellama_train.evaluation import statistics
from codellama_train.evaluation.measurement import Measurement, Subject
from codellama_train.generation import Sampling, complete
from codellama_train.recipe.evaluation import KeyRetrieval

FUNCTION = 'def my_function() -> int:\n    """Note that this function is used at the end."""\n    return {key}\n'
QUESTION = "assert my_function() =="
SEPARATOR = "\n\n"
ANSWER_TOKENS = 6
FULL_ENOUGH = 0.9  # of the room for documents


def measure_key_retrieval(subject: Subject, probe: KeyRetrieval) -> Measurement:
    """Give the share of prompts whose two-digit key the model writes greedily, by prompt length and key position."""
    longest = probe.times_trained_length * subject.loaded.trained_length
    cells: list[dict[str, Any]] = []
    items: list[dict[str, Any]] = []
    for length in (length for length in probe.lengths if length <= longest):
        for position in probe.positions:
            prompts = [key_prompt(subject, probe, length, position, index) for index in range(probe.prompts)]
            answers = complete(subject.loaded, [prompt for prompt, _ in prompts], Sampling(ANSWER_TOKENS))
            pairs = list(zip(answers, prompts, strict=True))
            correct = sum(is_key(answer.text, key) for answer, (_, key) in pairs)
            share = statistics.share(correct, len(prompts)).as_json()
            cell = {"length": length, "position": position, "prompts": len(prompts)}
            cells.append({**cell, "correct": correct, "share": share})
            items.append({**cell, "keys": [key for _, key in prompts], "answers": [answer.text for answer in answers]})
    left_out = [length for length in probe.lengths if length > longest]
    return Measurement({"cells": cells, "lengths_left_out": left_out}, {"cells": items})


def key_prompt(subject: Subject, probe: KeyRetrieval, length: int, position: float, index: int) -> tuple[str, int]:
    """Write one prompt of at most `length` tokens and say its key.

    Held-out documents fill it up; the function stands between two of them, at the relative `position` by tokens.
    """
    rng = random.Random(f"{subject.recipe.seed} {length} {position} {index}")
    key = rng.randrange(10, 100)
    tokenizer, shards = subject.loaded.tokenizer, subject.held_out.shards(probe.source)
    separator = len(tokenizer.encode(SEPARATOR))
    function = FUNCTION.format(key=key)
    room = length - 1 - len(tokenizer.encode(function)) - len(tokenizer.encode(QUESTION)) - separator
    before: list[str] = []
    after: list[str] = []
    used = 0
    for document in rng.sample(range(shards.num_documents), shards.num_documents):
        tokens = shards.length(document) + separator
        if used > FULL_ENOUGH * room:
            break
        if used + tokens > room:
            continue
        (before if used < position * room else after).append(subject.held_out.text(probe.source, document).strip("\n"))
        used += tokens
    return SEPARATOR.join([*before, function.strip("\n"), *after, QUESTION]), key


def is_key(answer: str, key: int) -> bool:
    """Tell whether an answer begins with exactly the key."""
    digits = answer.lstrip()
    return digits.startswith(str(key)) and not digits[len(str(key)) :][:1].isdigit()
