"""Probe: texts to read, greedy continuations of held-out documents and answers to held-out requests."""

from __future__ import annotations

import io
from typing import Any

from codellama_train.evaluation.held_out import choose
from codellama_train.evaluation.measurement import Measurement, Subject
from codellama_train.generation import Sampling, complete, continuation, generate_ids
from codellama_train.recipe.evaluation import Samples
from codellama_train.tokens.dialogue import end_of_answer
from codellama_train.tokens.dialogue_format import format_of_shards


def measure_samples(subject: Subject, probe: Samples) -> Measurement:
    """Give a few texts to read; nothing is counted."""
    sampling = Sampling(max_new_tokens=probe.max_new_tokens)
    items = {
        "completions": _completions(subject, probe, sampling),
        "answers": _answers(subject, probe, sampling),
    }
    return Measurement({kind: len(texts) for kind, texts in items.items()}, items)


def _completions(subject: Subject, probe: Samples, sampling: Sampling) -> list[dict[str, Any]]:
    texts = [
        subject.held_out.text(probe.completions_of, index) for index in _chosen(subject, probe.completions_of, probe)
    ]
    prompts = [opening(text) for text in texts]
    completed = complete(subject.loaded, prompts, sampling)
    return [
        {"prompt": prompt, "text": each.text, "is_finished": each.is_finished, "truth": text[len(prompt) :]}
        for prompt, each, text in zip(prompts, completed, texts, strict=True)
    ]


def opening(text: str) -> str:
    """Take the first line of a document that says something, and all before it."""
    lines = list(io.StringIO(text))
    number = next((number for number, line in enumerate(lines, start=1) if line.strip()), len(lines))
    return "".join(lines[:number])


def _answers(subject: Subject, probe: Samples, sampling: Sampling) -> list[dict[str, Any]]:
    tokenizer, shards = subject.loaded.tokenizer, subject.held_out.shards(probe.answers_to)
    chosen = _chosen(subject, probe.answers_to, probe)
    dialogues = [shards.ids(index).tolist() for index in chosen]
    starts = [int(shards.predicted(index).argmax()) for index in chosen]
    prompts = [ids[:start] for ids, start in zip(dialogues, starts, strict=True)]
    end_id = end_of_answer(tokenizer, format_of_shards(shards.manifest) or "inst")
    truths = [first_answer(ids[start:], end_id) for ids, start in zip(dialogues, starts, strict=True)]
    answers = generate_ids(subject.loaded, prompts, sampling, stop_id=end_id)
    return [
        {
            "prompt": tokenizer.decode(prompt),
            "text": continuation(tokenizer, prompt, answer).strip(),
            "is_finished": answer[-1:] == [end_id],
            "truth": continuation(tokenizer, prompt, truth).strip(),
        }
        for prompt, answer, truth in zip(prompts, answers, truths, strict=True)
    ]


def first_answer(ids: list[int], end_id: int) -> list[int]:
    """Keep the ids up to the end of the first answer."""
    return ids[: ids.index(end_id)] if end_id in ids else ids


def _chosen(subject: Subject, source: str, probe: Samples) -> list[int]:
    shards = subject.held_out.shards(source)
    candidates = [index for index in range(shards.num_documents) if shards.length(index)]
    return choose(candidates, count=probe.items, seed=subject.recipe.seed)
