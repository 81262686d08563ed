"""Processes that share sequences, each checking its slice against the whole: run by tests, imported by children."""

from __future__ import annotations

import os
import socket

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import repeat_kv

from codellama_train.distributed import start_processes, summed
from codellama_train.lora import add_adapters
from codellama_train.loss import LossHead, TrainingModel, document_mask
from codellama_train.recipe.training import Lora
from codellama_train.sequence_parallel import UlyssesAttention, share_sequences
from codellama_train.tokens.rows import IGNORED

HEADS, LENGTH = 4, 24


def on_processes(work, num_processes: int) -> None:
    """Run a function of a module on processes that know each other; their failures are raised here."""
    torch.multiprocessing.start_processes(join, (work, num_processes, free_port()), num_processes)


def join(rank: int, work, num_processes: int, port: int) -> None:
    shared = {"WORLD_SIZE": num_processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "DS_ACCELERATOR": "cpu"}
    os.environ.update({name: str(value) for name, value in ({"RANK": rank, "LOCAL_RANK": rank} | shared).items()})
    torch.set_num_threads(1)
    work(start_processes())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check_all(processes) -> None:
    check_attention(processes)
    check_models(processes)


def check_attention(processes) -> None:
    attention = UlyssesAttention(torch.distributed.group.WORLD)
    width = LENGTH // processes.num_ranks
    own = slice(processes.rank * width, (processes.rank + 1) * width)
    for key_heads in (1, 2, 4):
        for masked in (False, True):
            torch.manual_seed(key_heads)
            query, key, value, factors = (
                torch.randn(2, heads, LENGTH, 8) for heads in (HEADS, key_heads, key_heads, HEADS)
            )
            positions = torch.stack([torch.cat([torch.arange(5), torch.arange(19)]), torch.arange(LENGTH)])
            mask = document_mask(positions) if masked else None
            whole = [each.clone().requires_grad_() for each in (query, key, value)]
            repeated = [repeat_kv(each, HEADS // each.shape[1]) for each in whole]
            expected = nn.functional.scaled_dot_product_attention(
                *repeated, attn_mask=mask, is_causal=not masked, scale=0.3
            )
            (expected * factors).sum().backward()
            slices = [each[:, :, own].clone().requires_grad_() for each in (query, key, value)]
            output, _ = attention(None, *slices, mask, scaling=0.3, dropout=0.0)
            (output * factors.transpose(1, 2)[:, own]).sum().backward()
            torch.testing.assert_close(output, expected.transpose(1, 2)[:, own])
            for ours, theirs in zip(slices, whole, strict=True):
                torch.testing.assert_close(ours.grad, theirs.grad[:, :, own])


def random_model(kind: str):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        initializer_range=0.2,
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config).train()
    model.lm_head = LossHead(model.lm_head)
    if kind == "checkpointing":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if kind == "lora":
        adapted = add_adapters(model, Lora(rank=4, alpha=8, target_modules=["q_proj", "down_proj"]), seed=1)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.2)
        return model, adapted
    return model, model


def check_models(processes) -> None:
    generator = torch.Generator().manual_seed(7)
    input_ids, labels = torch.randint(50, (2, 2, LENGTH), generator=generator)
    labels[0, 3:9] = labels[:, LENGTH // 2 :] = IGNORED  # nothing is predicted in the last slices
    positions = torch.stack([torch.cat([torch.arange(5), torch.arange(19)]), torch.arange(LENGTH)])
    for kind, of_documents in (("plain", None), ("plain", positions), ("checkpointing", positions), ("lora", None)):
        _, expected = random_model(kind)
        loss, losses = TrainingModel(expected)(input_ids, labels, of_documents)
        loss.backward()
        model, trained = random_model(kind)
        share = share_sequences(model, processes.num_ranks, processes)
        own = share.columns(LENGTH)
        own_loss, own_losses = TrainingModel(trained, share)(input_ids[:, own], labels[:, own], of_documents)
        own_loss.backward()
        torch.testing.assert_close(own_losses, losses[:, own])
        for ours, theirs in zip(trained.parameters(), expected.parameters(), strict=True):
            assert (ours.grad is None) == (theirs.grad is None)
            if theirs.grad is not None:
                torch.testing.assert_close(summed(ours.grad), theirs.grad, rtol=1e-4, atol=1e-6)
