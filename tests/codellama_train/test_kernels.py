"""Faster code gives the same losses and gradients, keeps every name, and is refused where it cannot run."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from launching import read_metrics, relative_distance, train, write_recipe
from safetensors.torch import load_file
from test_lora import write_base, write_lora_recipe
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

from codellama_train import kernels
from codellama_train.console import UserError
from codellama_train.kernels import require_kernels, use_kernels
from codellama_train.loss import LossHead, TrainingModel
from codellama_train.recipe.loading import load
from codellama_train.recipe.machine import Machine
from codellama_train.recipe.training import TrainingRecipe

MACHINE = {
    "zero_stage": 2,
    "sequences_per_device": 1,
    "activation_checkpointing": False,
    "log_every_steps": 1,
    "save_every_steps": 1,
    "keep_checkpoints": 1,
}


def small_llama(*, activation_checkpointing: bool, device: str = "cpu") -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=448,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=10,  # more than the number of graphs that torch.compile makes for one piece of code
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    model = LlamaForCausalLM(config)
    model.lm_head = LossHead(model.lm_head)
    if activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model.train().to(device)


def gradients(model: LlamaForCausalLM, *, document_mask: bool) -> dict[str, torch.Tensor]:
    """Give a model's gradients by name for rows of random tokens, alone or cut into documents."""
    input_ids = torch.randint(448, (2, 64), generator=torch.Generator().manual_seed(1)).to(model.device)
    positions = (torch.arange(64, device=model.device) % 40).expand(2, -1) if document_mask else None
    model.zero_grad()
    loss, _ = TrainingModel(model)(input_ids, input_ids.roll(-1, dims=1), positions)
    (loss / 128).backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def demand_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("activation_checkpointing", [False, True])
def test_compiled_layers_share_one_graph_and_give_the_same_gradients(activation_checkpointing):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    plain, compiled = (small_llama(activation_checkpointing=activation_checkpointing) for _ in range(2))
    use_kernels(compiled, Machine(**MACHINE, compile=True))
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    demand_equal(gradients(compiled, document_mask=False), gradients(plain, document_mask=False))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    demand_equal(gradients(compiled, document_mask=True), gradients(plain, document_mask=True))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "stage"), [("whole", 2), ("lora", 1)])
def test_a_compiled_run_ends_as_an_ordinary_one(kind, stage, training_data, tokenizer, tmp_path):
    overrides = [f"machine.zero_stage={stage}", "machine.activation_checkpointing=true"]
    run_dirs = []
    for name, more in (("ordinary", []), ("compiled", ["machine.compile=true"])):
        if kind == "lora":
            base = write_base(tmp_path / name / "base", tokenizer, tied=False, is_wide=stage == 3)
            recipe = write_lora_recipe(tmp_path / name, training_data, base, kind="lora")
            run_dirs.append(tmp_path / name / "runs/adapters")
        else:
            (tmp_path / name).mkdir()
            recipe = write_recipe(tmp_path / name / "run.toml", runs=tmp_path / name / "runs", data=training_data)
            run_dirs.append(tmp_path / name / "runs/run")
        train(recipe, [*overrides, *more], processes=1)
    for ordinary, compiled in zip(*map(read_metrics, run_dirs), strict=True):
        assert compiled["loss"] == pytest.approx(ordinary["loss"], rel=2e-3)
        assert compiled["gradient_norm"] == pytest.approx(ordinary["gradient_norm"], rel=2e-2)
    theirs, ours = (load_file(run_dir / "final/model.safetensors") for run_dir in run_dirs)
    assert ours.keys() == theirs.keys()
    assert relative_distance(ours, theirs) < 1e-2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("activation_checkpointing", [False, True])
def test_liger_gives_the_same_gradients_and_leaves_the_processor_alone(activation_checkpointing, monkeypatch):
    pytest.importorskip("liger_kernel", reason="needs liger-kernel: pip install -e '.[kernels]'")
    plain = modeling_llama.apply_rotary_pos_emb
    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", plain)  # so that the end of the test restores it
    model = small_llama(activation_checkpointing=activation_checkpointing, device="cuda")
    expected = [gradients(model, document_mask=document_mask) for document_mask in (False, True)]
    use_kernels(model, Machine(**MACHINE, kernels="liger"))
    assert modeling_llama.apply_rotary_pos_emb is not plain
    for document_mask, theirs in zip((False, True), expected, strict=True):
        demand_equal(gradients(model, document_mask=document_mask), theirs)
    on_processor = small_llama(activation_checkpointing=False)
    on_processor(torch.zeros(1, 8, dtype=torch.long)).logits.sum().backward()


def test_liger_is_refused_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"machine.kernels='liger' needs a GPU, and there is none here"):
        require_kernels(Machine(**MACHINE, kernels="liger"))


def test_liger_is_refused_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    if find_spec("liger_kernel"):
        monkeypatch.setattr(kernels, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"not installed: pip install -e '\.\[kernels\]'"):
        require_kernels(Machine(**MACHINE, kernels="liger"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["machine.kernels=flash"], "machine.kernels = 'flash': Input should be 'liger'"),
        (["machine.kernels=liger", "machine.compile=true"], "fuse the same operations; choose one"),
        (["machine.zero_stage=3", "machine.compile=true"], "machine.compile=true needs machine.zero_stage=1 or 2"),
    ],
)
def test_recipes_are_refused(overrides, message, training_data, tmp_path):
    recipe = write_recipe(tmp_path / "run.toml", runs=tmp_path / "runs", data=training_data)
    with pytest.raises(UserError) as error:
        load(TrainingRecipe, recipe, overrides)
    assert message in str(error.value)
