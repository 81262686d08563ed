"""What `gpu.py` measures, each in a process of its own: our loop, and Trainer with peft and Liger; random weights."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from pacing import Pacer
from peft import LoraConfig, get_peft_model
from training_peers import HeldUpTrainer, PauseAfterStep, rows_of, tokenizer_of, train_ours
from training_world import Case, load_recipe
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from codellama_train import train as training
from codellama_train.console import UserError
from codellama_train.loss import LossHead
from codellama_train.recipe.training import TrainingRecipe

OURS, PEER = "ours", "Trainer + peft + Liger"


def train_case(pipe: Connection, contender: str, folder: Path, case: Case, memory_limit_bytes: int | None) -> None:
    """Train until told to stop, or say in one line why that cannot be."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # DeepSpeed prints, and standard output is the parent's table
    try:
        pacer = Pacer(pipe)
        if memory_limit_bytes is not None and torch.cuda.is_available():
            whole = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(memory_limit_bytes / whole)
        recipe = load_recipe(folder, "case", case)
        if contender == OURS:
            training.place_model = lambda recipe, *_: with_our_head(random_model(recipe))
            train_ours(recipe, pacer)
        else:
            train_peer(recipe, pacer)
    except torch.OutOfMemoryError:
        pipe.send("out of memory")
    except (UserError, ImportError, RuntimeError, TypeError, ValueError, AttributeError, AssertionError) as error:
        pipe.send(f"failed: {type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}")


def random_model(recipe: TrainingRecipe) -> LlamaForCausalLM:
    """Make the recipe's model on the device, in bfloat16: making a 7B's float32 weights elsewhere takes minutes."""
    architecture = recipe.model.architecture
    assert architecture is not None, "benchmarks start from random weights"
    config = LlamaConfig(
        **architecture.model_dump(exclude_none=True),
        vocab_size=tokenizer_of(recipe).vocabulary_size,
        max_position_embeddings=recipe.data.sequence_length,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.model.rope_theta},
        tie_word_embeddings=False,
        attn_implementation="sdpa",
    )
    torch.manual_seed(recipe.data.seed)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    return model


def with_our_head(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """Give the model the output layer that `place_model` gives it."""
    model.lm_head = LossHead(model.lm_head)
    return model


def train_peer(recipe: TrainingRecipe, pacer: Pacer) -> None:
    """Run Trainer on adapters, as its guides show it for one GPU; Liger's kernels need one."""
    has_gpu = torch.cuda.is_available()
    if has_gpu and find_spec("liger_kernel") is None:
        raise ImportError("skipped, as liger-kernel is not installed")
    assert recipe.lora is not None, "the peer trains adapters"
    adapters = LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        target_modules=recipe.lora.target_modules,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(random_model(recipe), adapters)
    machine = recipe.machine
    if machine.activation_checkpointing:
        model.enable_input_require_grads()
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(dir=Path(recipe.runs).parent),
        per_device_train_batch_size=machine.sequences_per_device,
        gradient_accumulation_steps=recipe.sequences_per_step // machine.sequences_per_device,
        gradient_checkpointing=machine.activation_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if machine.activation_checkpointing else None,
        max_steps=recipe.steps,
        learning_rate=recipe.optimizer.peak_learning_rate,
        lr_scheduler_type="constant",
        bf16=True,
        use_cpu=not has_gpu,
        use_liger_kernel=has_gpu,
        remove_unused_columns=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    held_up = HeldUpTrainer(model=model, args=arguments, train_dataset=rows_of(recipe))
    held_up.add_callback(PauseAfterStep(held_up, pacer))
    held_up.train()


def describe_device() -> tuple[str, int]:
    """Name the device and its memory in bytes; for a process of its own, since looking takes some of that memory."""
    if not torch.cuda.is_available():
        return "processor", 0
    device: Any = torch.cuda.get_device_properties(0)
    return device.name, device.total_memory
