from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from token_worlds import dialogue_documents, mixture_of, text_documents, write_shards

from codellama_train.console import UserError
from codellama_train.recipe.training import TrainingRecipe
from codellama_train.tokens.batches import LaneBatches, StepBatch, open_mixture
from codellama_train.tokens.lane_state import LaneState
from codellama_train.tokens.lanes import Mixture
from codellama_train.tokens.rows import IGNORED
from codellama_train.tokens.sentencepiece_tokenizer import SentencePieceTokenizer

NUM_LANES = 20
ARRAYS = ("input_ids", "labels", "source", "infilled", "positions")


@pytest.fixture(scope="module")
def mixture(
    tokenizer: SentencePieceTokenizer, source_texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Mixture:
    folder = tmp_path_factory.mktemp("shards")
    texts = [source_texts[0][start : start + start % 300] for start in range(0, 30_000, 217)]
    exchanges = [[(f"Say {number}", f"{number}! " * (number % 7))] for number in range(12)]
    code = write_shards(folder / "code", tokenizer, text_documents(tokenizer, texts))
    dialogues = write_shards(
        folder / "dialogues", tokenizer, dialogue_documents(tokenizer, exchanges), kind="dialogues"
    )
    sources = {"code": (0.8, code), "dialogues": (0.2, dialogues)}
    return mixture_of(tokenizer, sources, sequence_length=64, num_lanes=NUM_LANES, infilling_rate=0.9)


def read_steps(
    mixture: Mixture, *, num_ranks: int, num_steps: int, states: list[LaneState] | None = None
) -> tuple[list[list[StepBatch]], list[LaneState]]:
    """Read steps on every rank; give (step, rank) batches and the states of all lanes after them."""
    ranks = [LaneBatches(mixture, rank=rank, num_ranks=num_ranks, states=states) for rank in range(num_ranks)]
    steps = [[rank.next_step() for rank in ranks] for _ in range(num_steps)]
    return steps, [state for batch in steps[-1] for state in batch.states]


def tokens_of(steps: list[list[StepBatch]], name: str) -> np.ndarray:
    """Join the ranks' rows of each step, padded rows left out. Shape: (steps, lanes, sequence)."""
    return np.array([np.concatenate([getattr(batch, name) for batch in batches])[:NUM_LANES] for batches in steps])


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4, 7, 11, 20])
def test_every_number_of_ranks_sees_the_same_tokens(mixture: Mixture, num_ranks: int):
    reference = [[mixture.next_row(lane, mixture.initial_state(lane))[0] for lane in range(NUM_LANES)]]
    steps, states = read_steps(mixture, num_ranks=num_ranks, num_steps=3)
    alone, alone_states = read_steps(mixture, num_ranks=1, num_steps=3)
    for name in ARRAYS:
        np.testing.assert_array_equal(tokens_of(steps, name), tokens_of(alone, name))
        np.testing.assert_array_equal(tokens_of(steps, name)[0], np.array([getattr(row, name) for row in reference[0]]))
    assert states == alone_states


def test_ranks_with_fewer_lanes_add_rows_without_predicted_tokens(mixture: Mixture):
    steps, _ = read_steps(mixture, num_ranks=3, num_steps=1)
    assert [batch.input_ids.shape for batch in steps[0]] == [(7, 64)] * 3
    assert [len(batch.states) for batch in steps[0]] == [7, 7, 6]
    assert (steps[0][2].labels[-1] == IGNORED).all()
    for batch in steps[0]:
        assert batch.num_predicted == (batch.labels != IGNORED).sum()
        assert (batch.input_ids.dtype, batch.labels.dtype) == (np.int64, np.int64)
        assert (batch.source.dtype, batch.infilled.dtype) == (np.uint8, np.bool_)


def test_a_run_resumed_on_other_ranks_sees_the_same_tokens(mixture: Mixture):
    whole, whole_states = read_steps(mixture, num_ranks=1, num_steps=7)
    _, states = read_steps(mixture, num_ranks=4, num_steps=3)
    resumed, resumed_states = read_steps(mixture, num_ranks=3, num_steps=4, states=states)
    for name in ARRAYS:
        np.testing.assert_array_equal(tokens_of(resumed, name), tokens_of(whole[3:], name))
    assert resumed_states == whole_states


def test_the_state_is_that_of_the_batch_handed_over_and_not_of_the_one_prepared(mixture: Mixture):
    batches = LaneBatches(mixture, rank=1, num_ranks=4)
    assert batches.states == tuple(mixture.initial_state(lane) for lane in range(5, 10))
    for _ in range(3):
        expected = tuple(
            mixture.next_row(lane, state)[1] for lane, state in zip(range(5, 10), batches.states, strict=True)
        )
        batch = batches.next_step()
        assert batch.states == batches.states == expected


def test_too_many_padded_rows_are_refused(mixture: Mixture):
    with pytest.raises(ValueError, match="13 devices do not divide the 20 sequences"):
        LaneBatches(mixture, rank=0, num_ranks=13)


def recipe_of(shards: dict[str, Path], **data: Any) -> TrainingRecipe:
    return TrainingRecipe.model_validate(
        {
            "name": "test",
            "model": {"init_from": "base", "rope_theta": 10_000.0},
            "data": {
                "sequence_length": 32,
                "seed": 1,
                "sources": {name: {"shards": path, "share": 1 / len(shards)} for name, path in shards.items()},
                **data,
            },
            "batch": {"tokens_per_step": 4 * data.get("sequence_length", 32), "total_tokens": 12_800},
            "optimizer": {
                "peak_learning_rate": 1e-3,
                "final_learning_rate_fraction": 0.1,
                "warmup_steps": 1,
                "betas": (0.9, 0.95),
                "epsilon": 1e-5,
                "weight_decay": 0.1,
                "gradient_clipping": 1.0,
            },
            "machine": {
                "zero_stage": 1,
                "sequences_per_device": 1,
                "activation_checkpointing": False,
                "log_every_steps": 1,
                "save_every_steps": 1,
                "keep_checkpoints": 1,
            },
        }
    )


def test_a_recipe_opens_as_its_lanes(mixture: Mixture):
    tokenizer, folder = mixture.tokenizer, mixture.sources[0].shards.folder
    opened = open_mixture(recipe_of({"a": folder, "b": folder}, infilling={"rate": 0.5}), tokenizer)
    assert [source.name for source in opened.sources] == ["a", "b"]
    assert (opened.num_lanes, opened.sequence_length, opened.seed) == (4, 32, 1)
    assert [source.infilling_rate for source in opened.sources] == [0.5, 0.5]
    assert open_mixture(recipe_of({"a": folder}), tokenizer).sources[0].infilling_rate is None


def test_a_recipe_with_missing_shards_is_refused(mixture: Mixture, tmp_path: Path):
    with pytest.raises(UserError, match="no finished shards"):
        open_mixture(recipe_of({"a": tmp_path}), mixture.tokenizer)


def test_shards_of_another_tokenizer_are_refused(mixture: Mixture, shared_data: Path):
    other = SentencePieceTokenizer.from_folder(shared_data / "llama2_tokenizer")
    with pytest.raises(UserError, match="prepare the data again"):
        open_mixture(recipe_of({"a": mixture.sources[0].shards.folder}), other)


def test_more_sources_than_a_byte_can_name_are_refused(mixture: Mixture):
    folder = mixture.sources[0].shards.folder
    with pytest.raises(UserError, match="at most 255 sources"):
        open_mixture(recipe_of({str(index): folder for index in range(256)}), mixture.tokenizer)


def test_infilling_with_a_tokenizer_that_drops_spaces_is_refused(
    shared_data: Path, source_texts: list[str], tmp_path: Path
):
    dropping = SentencePieceTokenizer.from_folder(shared_data / "stories260k" / "tok512.model")
    write_shards(tmp_path / "s", dropping, text_documents(dropping, source_texts))
    assert open_mixture(recipe_of({"s": tmp_path / "s"}), dropping).num_lanes == 4
    with pytest.raises(UserError, match="keeps every space"):
        open_mixture(recipe_of({"s": tmp_path / "s"}, infilling={"rate": 0.9}), dropping)


def test_a_source_may_have_an_infilling_rate_of_its_own(mixture: Mixture):
    folder = mixture.sources[0].shards.folder
    recipe = recipe_of({"a": folder, "b": folder}, infilling={"rate": 0.9})
    sources = {"a": {"shards": folder, "share": 0.5, "infilling_rate": 0.0}, "b": {"shards": folder, "share": 0.5}}
    opened = open_mixture(recipe_of({}, infilling={"rate": 0.9}, sources=sources), mixture.tokenizer)
    assert [source.infilling_rate for source in opened.sources] == [None, 0.9]
    assert [source.infilling_rate for source in open_mixture(recipe, mixture.tokenizer).sources] == [0.9, 0.9]
    with pytest.raises(ValueError, match=r"data\.sources\.a\.infilling_rate=0 needs \[data\.infilling\]"):
        recipe_of({}, sources=sources)


def test_best_fit_packing_of_dialogues_is_refused(mixture: Mixture):
    code, dialogues = (source.shards.folder for source in mixture.sources)
    assert open_mixture(recipe_of({"a": code}, best_fit={"window_documents": 8}), mixture.tokenizer)
    with pytest.raises(UserError, match=r"data\.sources\.b holds dialogues, which are never cut"):
        open_mixture(recipe_of({"a": code, "b": dialogues}, best_fit={"window_documents": 8}), mixture.tokenizer)


def test_eight_ranks_read_the_global_batch_of_one(mixture: Mixture):
    sources = {source.name: (source.share, source.shards) for source in mixture.sources}
    of_24_lanes = mixture_of(mixture.tokenizer, sources, sequence_length=64, num_lanes=24, infilling_rate=0.9)
    alone, _ = read_steps(of_24_lanes, num_ranks=1, num_steps=2)
    steps, _ = read_steps(of_24_lanes, num_ranks=8, num_steps=2)
    for name in ARRAYS:
        joined = [np.concatenate([getattr(batch, name) for batch in batches]) for batches in steps]
        np.testing.assert_array_equal(joined, [getattr(batches[0], name) for batches in alone])


@pytest.mark.parametrize(("source", "what"), [("code", "infilled document"), ("dialogues", "dialogue")])
def test_a_sequence_too_short_for_any_document_is_refused(mixture: Mixture, tmp_path: Path, source: str, what: str):
    if source == "code":
        documents = text_documents(mixture.tokenizer, ["return value"] * 2)
        shards = write_shards(tmp_path / "s", mixture.tokenizer, documents)
    else:
        documents = dialogue_documents(mixture.tokenizer, [[("Hi", "Hello")]])
        shards = write_shards(tmp_path / "s", mixture.tokenizer, documents, kind="dialogues")
    needed = shards.manifest["longest_document"] + (5 if source == "code" else 0)
    for sequence_length in (needed - 1, needed):
        recipe = recipe_of({"a": tmp_path / "s"}, infilling={"rate": 0.9}, sequence_length=sequence_length)
        if sequence_length == needed:
            assert open_mixture(recipe, mixture.tokenizer)
            continue
        with pytest.raises(UserError, match=rf"shorter than every {what} of data\.sources\.a; raise it"):
            open_mixture(recipe, mixture.tokenizer)
