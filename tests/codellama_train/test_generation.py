"""Generation against plain one-by-one greedy decoding, and generate.py as a person runs it."""

from __future__ import annotations

import importlib
import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from codellama_train.console import UserError, run_program
from codellama_train.generation import (
    Gap,
    Sampling,
    answer,
    batches_by_length,
    complete,
    continuation,
    generate_ids,
    infill,
    load_model,
    middle_text,
)
from codellama_train.tokens.dialogue import Message, dialogue_prompt
from codellama_train.tokens.infilling import infilled_document, infilling_prompt

PROMPTS = ["def name_3(", "x", "", "def total_17(value):\n    index = value +", "The naïve — item"]


@pytest.fixture(scope="module")
def loaded(model_path):
    return load_model(model_path, dtype=torch.float32, device="cpu")


def greedy(loaded, prompt, *, max_new_tokens, stop_id):
    """Write token by token without a cache or a batch; rows beyond the pieces are padding and never written."""
    ids = list(prompt)
    pieces = sum(loaded.tokenizer.piece(token) is not None for token in range(loaded.tokenizer.vocabulary_size))
    with torch.inference_mode():
        for _ in range(max_new_tokens):
            ids.append(int(loaded.model(torch.tensor([ids]), use_cache=False).logits[0, -1, :pieces].argmax()))
            if ids[-1] == stop_id:
                break
    return ids[len(prompt) :]


def test_batched_greedy_equals_one_by_one(loaded):
    prompts = [[loaded.tokenizer.bos_id, *loaded.tokenizer.encode(prompt)] for prompt in PROMPTS]
    common = int(np.bincount([greedy(loaded, prompt, max_new_tokens=4, stop_id=-1)[3] for prompt in prompts]).argmax())
    for stop_id in (loaded.tokenizer.eos_id, common):  # a token that is really written stops some rows early
        together = generate_ids(loaded, prompts, Sampling(max_new_tokens=12), stop_id=stop_id)
        assert together == [greedy(loaded, prompt, max_new_tokens=12, stop_id=stop_id) for prompt in prompts]
    assert any(len(ids) < 12 for ids in together)


def test_batches_hold_every_index_once_and_respect_the_limit():
    lengths = [5, 100, 7, 7, 30, 1, 64]
    batches = batches_by_length(lengths, tokens_per_batch=64)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= 64 for batch in batches)


def test_sampling_repeats_with_its_seed_and_differs_with_another(loaded):
    def write(seed):
        return complete(loaded, ["def "], Sampling(20, temperature=1.5, top_p=0.95, seed=seed))

    state = torch.random.get_rng_state()
    assert write(1) == write(1)
    assert write(1) != write(2)
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random state is untouched"


@pytest.mark.parametrize("mode", ["psm", "spm"])
def test_infilling_continues_the_training_layout_until_eot(loaded, mode):
    tokenizer, end_id = loaded.tokenizer, loaded.tokenizer.sentinels.end
    gaps = [Gap("def f(", "):\n"), Gap("", "x"), Gap("value = ", "")]
    results = infill(loaded, gaps, mode, Sampling(10))
    for gap, result in zip(gaps, results, strict=True):
        prompt = infilling_prompt(tokenizer, gap.prefix, gap.suffix, mode)
        ids = greedy(loaded, prompt, max_new_tokens=10, stop_id=end_id)
        assert result.text == middle_text(tokenizer, gap, mode, ids)
        assert (result.num_tokens, result.is_finished) == (len(ids), ids[-1] == end_id)


@pytest.mark.parametrize("mode", ["psm", "spm"])
@given(parts=st.tuples(*[st.text(st.characters(exclude_characters="\u2581", codec="utf-8"), max_size=12)] * 3))
def test_true_middles_are_read_back_whole(tokenizer, mode, parts):
    prefix, middle, suffix = parts
    prompt = infilling_prompt(tokenizer, prefix, suffix, mode)
    document = infilled_document(tokenizer, prefix, middle, suffix, mode)
    if document[: len(prompt)] != prompt:
        return  # a token spans the seam: no model that continues this prompt can write it
    assert middle_text(tokenizer, Gap(prefix, suffix), mode, document[len(prompt) :]) == middle
    assert middle_text(tokenizer, Gap(prefix, suffix), mode, document[len(prompt) : -1]) == middle


def test_continuation_restores_text_cut_between_bytes(loaded):
    ids = loaded.tokenizer.encode("naïve 日本 text")
    for cut in range(len(ids) + 1):
        joined = loaded.tokenizer.decode(ids[:cut]) + continuation(loaded.tokenizer, ids[:cut], ids[cut:])
        if "\ufffd" not in loaded.tokenizer.decode(ids[:cut]):
            assert joined == "naïve 日本 text"


@pytest.mark.parametrize("dialogue_format", ["inst", "source_destination"])
def test_answers_start_from_the_prompt_of_the_models_format(tmp_path, model_path, dialogue_format):
    shutil.copytree(model_path, tmp_path / "model")
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps({"dialogue_format": dialogue_format}))
    loaded = load_model(tmp_path / "model", dtype=torch.float32, device="cpu")
    tokenizer = loaded.tokenizer
    end_id = {"inst": tokenizer.eos_id, "source_destination": tokenizer.step_id}[dialogue_format]
    messages = [Message("system", "Be brief."), Message("user", "name the value")]
    prompt = dialogue_prompt(tokenizer, messages, dialogue_format)
    [result] = answer(loaded, [messages], Sampling(8))
    ids = greedy(loaded, prompt, max_new_tokens=8, stop_id=end_id)
    assert result.text == continuation(tokenizer, prompt, ids).strip()
    with torch.no_grad():  # a model that ends every answer at once
        loaded.model.lm_head.weight.zero_()
        loaded.model.model.norm.weight.fill_(1.0)
        hidden = loaded.model.model(torch.tensor([prompt])).last_hidden_state[0, -1]
        loaded.model.lm_head.weight[end_id] = hidden
    [result] = answer(loaded, [messages], Sampling(8))
    assert (result.text, result.num_tokens, result.is_finished) == ("", 1, True)


def test_real_model_tells_a_story(stories_path):
    [story] = complete(
        load_model(stories_path, device="cpu"), ["Once upon a time, there was a little girl"], Sampling(40)
    )
    assert "named" in story.text
    assert "She loved to" in story.text


@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_weights_are_loaded_as_stored_or_as_asked_and_rope_stays_exact(tmp_path, model_path, tokenizer, dtype):
    LlamaForCausalLM.from_pretrained(model_path).to(torch.bfloat16).save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    model = load_model(tmp_path, dtype=dtype, device="cpu").model
    assert model.dtype == (dtype or torch.bfloat16)
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32


def broken(path, model_path, damage):
    shutil.copytree(model_path, path)
    config = json.loads((path / "config.json").read_text())
    if damage == "not a model":
        (path / "config.json").unlink()
    elif damage == "foreign":
        (path / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    elif damage == "config":
        (path / "config.json").write_text("{")
    elif damage == "no weights":
        (path / "model.safetensors").unlink()
    elif damage == "torn weights":
        (path / "model.safetensors").write_bytes(b"\x00" * 100)
    elif damage == "other vocabulary":
        other = LlamaConfig.from_pretrained(path)
        other.vocab_size += 256
        LlamaForCausalLM(other).save_pretrained(path)
    elif damage == "fewer rows":
        other = LlamaConfig.from_pretrained(path)
        other.vocab_size = 432
        LlamaForCausalLM(other).save_pretrained(path)
    elif damage == "more layers":
        (path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    elif damage == "no tokenizer":
        (path / "tokenizer.model").unlink()
    return path


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("not a model", "there is no model at"),
        ("foreign", "holds a 'gpt2' model"),
        ("config", "is not JSON"),
        ("no weights", "cannot be read"),
        ("torn weights", "cannot be read"),
        ("other vocabulary", "do not belong together"),
        ("more layers", "lack model.layers.2"),
        ("no tokenizer", "has no tokenizer.model and no tokenizer.json"),
    ],
)
def test_folders_that_hold_no_such_model_are_refused(tmp_path, model_path, damage, message):
    with pytest.raises(UserError, match=message):
        load_model(broken(tmp_path / "model", model_path, damage), device="cpu")


def test_a_base_without_rows_for_the_infilling_tokens_gets_their_means(tmp_path, model_path, caplog):
    folder = broken(tmp_path / "model", model_path, "fewer rows")
    rows = load_model(folder, device="cpu").model.get_input_embeddings().weight
    assert "has no rows for the infilling tokens yet" in caplog.text
    torch.testing.assert_close(rows[432:], rows[:432].mean(dim=0).expand(len(rows) - 432, -1))


def test_an_unfinished_run_is_named_as_such(tmp_path):
    (tmp_path / "recipe.toml").write_text("")
    with pytest.raises(UserError, match="has no final/ yet"):
        load_model(tmp_path)


def run_generate(project, *arguments, text=""):
    command = [sys.executable, str(project / "scripts/generate.py"), *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def generate(project, monkeypatch):
    monkeypatch.syspath_prepend(str(project / "scripts"))
    return importlib.import_module("generate")


def test_generate_py_completes_a_file(project, tmp_path, model_path, loaded):
    prompt = tmp_path / "prompt.py"
    prompt.write_text("def name_3(")
    result = run_generate(project, model_path, prompt, "--max-new-tokens", 8)
    assert result.returncode == 0, result.stderr
    assert result.stdout == complete(loaded, ["def name_3("], Sampling(8))[0].text + "\n"


def test_generate_py_completes_standard_input(generate, model_path, loaded, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("def name_3("))
    generate.main([str(model_path), "--max-new-tokens", "8"])
    assert capsys.readouterr().out == complete(loaded, ["def name_3("], Sampling(8))[0].text + "\n"


@pytest.mark.parametrize("mode", ["psm", "spm"])
def test_generate_py_infills(generate, model_path, loaded, capsys, mode):
    generate.main([str(model_path), "--infill", "def f(<FILL>):", "--mode", mode, "--max-new-tokens", "8"])
    assert capsys.readouterr().out == infill(loaded, [Gap("def f(", "):")], mode, Sampling(8))[0].text + "\n"


def test_generate_py_converses_and_remembers(project, model_path, loaded):
    arguments = ("--chat", "--system", "Be brief.", "--max-new-tokens", 4)
    talk = run_generate(project, model_path, *arguments, text="hi\n\nbye\n")
    assert talk.returncode == 0, talk.stderr
    messages = [Message("system", "Be brief."), Message("user", "hi")]
    first = answer(loaded, [messages], Sampling(4))[0].text
    messages += [Message("assistant", first), Message("user", "bye")]
    assert talk.stdout == f"{first}\n{answer(loaded, [messages], Sampling(4))[0].text}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{missing}", "x"), "there is no model at"),
        (("{model}", "--infill", "no mark"), "<FILL> once; this one has it 0 times"),
        (("{model}", "x", "--chat", "y"), "exclude each other"),
        (("{model}", "x", "--max-new-tokens", "0"), "must be at least 1"),
        (("{model}", "x", "--temperature", "-1"), "must be 0 .greedy. or more"),
        (("{model}", "x", "--top-p", "2"), "at most 1"),
    ],
)
def test_generate_py_refuses_in_one_sentence(tmp_path, model_path, arguments, message, generate, capsys, monkeypatch):
    filled = [text.format(missing=tmp_path / "missing", model=model_path) for text in arguments]
    monkeypatch.setattr(sys, "argv", ["generate.py", *filled])
    with pytest.raises(SystemExit) as stopped:
        run_program(generate.main)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert re.search(message, error), error


def test_generate_py_exits_with_2_and_no_traceback(project, tmp_path):
    result = run_generate(project, tmp_path, "x")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: there is no model at"), result.stderr
    assert "Traceback" not in result.stderr
