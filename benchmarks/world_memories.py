"""What training models of this kind took of others' devices: their settings, in this project's words, and memory.

From the tables of model cards, READMEs and articles; each row names its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from world_speeds import (
    ALL_LINEAR,
    ALONE,
    FULL,
    FUSED,
    LLAMA_2_7B,
    LLAMA_3_2_3B,
    LLAMA_3_8B,
    QWEN_2_5_7B,
    QWEN_7B,
    QWEN_LORA,
)

from codellama_train.planning.shape import ModelShape


@dataclass(frozen=True)
class MemoryRow:
    """What someone's training took of each device, or only that it fitted or did not.

    What differs from this project's training is said here. `logit_bytes`: bytes of each logit where all are made at
    once, None where the loss works in pieces. `state_bytes`: of weights, gradients and optimizer per trained weight
    where DeepSpeed does not hold them, None where it does. `sums_bytes`: of each gradient that micro-steps sum.
    `others`: what else they hold. `kept_bytes`: of each layer and token, kept although layers are computed again.
    `offloads_activations`: what layers keep between forward and backward lies in the host's memory. `is_limit`: it was
    the longest that fitted, so the device was full and no allowance was left.
    """

    source: str
    shape: ModelShape
    devices: str
    length: int
    machine: Mapping[str, Any]
    sequences: int = 1
    micro_steps: int = 1
    lora: Mapping[str, Any] | None = None
    gigabytes: float | None = None
    fits: bool = True
    within: float | None = None  # the share by which a plan may be off; None where it is only shown
    logit_bytes: int | None = None
    state_bytes: float | None = None
    sums_bytes: int = 4
    others: Mapping[str, int] = field(default_factory=dict)
    kept_bytes: int = 0
    offloads_activations: bool = False
    is_limit: bool = False


GIB = (1 << 30) / 1e9  # in gigabytes
GATED = 0.20  # on the rows of the transformers and DeepSpeed kind
# Logits at once: forward in bfloat16, shifted, in float32 and the logarithm of their softmax; backward this, its
# gradient and that of the logits in float32.
WHOLE = 12
# torchtitan's selective checkpointing keeps attention's result and every second product of matrices, in bfloat16.
SELECTIVE = 2 * 4_096 + 2 * (4 * 4_096 + 2 * 1_024 + 2 * 14_336 - 4_096) // 2
# FSDP has the embedding and the output layer whole throughout, and two layers, with their gradients, in bfloat16.
GATHERED = {"weights and gradients put together": 2 * 2 * (2 * 128_256 * 4_096 + 2 * 218_103_808)}
MIXED = 4 + 4 + 8  # float32 weights and gradients, two moments, as FSDP and peft's adapters in float32
PURE = 2 + 2 + 4  # all in bfloat16
QWEN_TRAINED = {"embedding and output layer, trained": PURE * 2 * 151_936 * 4096}
LITGPT_LORA = {"rank": 8, "alpha": 16, "target_modules": ["q_proj", "v_proj"]}
NF4 = {"quantization": "nf4"}

# The Qwen repository's table of its single-GPU script: Trainer without DeepSpeed.
QWEN_ROW = MemoryRow(
    "Qwen, 7B LoRA",
    QWEN_7B,
    "1xA100-80",
    4_096,
    ALONE,
    micro_steps=8,
    lora=QWEN_LORA,
    gigabytes=29.7,
    within=GATED,
    logit_bytes=WHOLE,
    state_bytes=MIXED,
)
QWEN_BOTH = "Qwen, 7B LoRA, embedding and head trained"
MS_SWIFT = MemoryRow(
    "ms-swift, Qwen2.5-7B, ZeRO 3, Liger",
    QWEN_2_5_7B,
    "4xA100-80",
    16_384,
    FULL | FUSED,
    micro_steps=2,
    gigabytes=42.0,
    within=GATED,
    sums_bytes=2,
)
# Its fine-tuning script's longest sequence; the loss goes over logits, in bfloat16 and whole, in pieces.
LITGPT = MemoryRow(
    "litgpt, Llama 2 7B LoRA",
    LLAMA_2_7B,
    "1xA100-40",
    1_304,
    ALONE | {"activation_checkpointing": False},
    lora=LITGPT_LORA,
    gigabytes=21.30,
    within=GATED,
    logit_bytes=WHOLE,
    state_bytes=PURE,
)
TORCHTITAN = MemoryRow(
    "torchtitan, Llama 3.1 8B",
    LLAMA_3_8B,
    "8xH100-NVL",
    8_192,
    FULL,
    sequences=2,
    kept_bytes=SELECTIVE,
    gigabytes=82.4 * GIB,
    logit_bytes=WHOLE,
    state_bytes=MIXED / 8,
    others=GATHERED,
)
TORCHTITAN_LONG = MemoryRow(
    "torchtitan, Llama 3.1 8B, context parallel",
    LLAMA_3_8B,
    "8xH100-NVL",
    32_768,
    FULL,
    gigabytes=84 * GIB,
    logit_bytes=WHOLE,
    state_bytes=MIXED / 8,
    others=GATHERED,
)
TORCHTUNE = MemoryRow(
    "torchtune, Llama 3.2 3B, packed",
    LLAMA_3_2_3B,
    "1xA100-80",
    4_096,
    ALONE | {"activation_checkpointing": False},
    sequences=2,
    gigabytes=60.0 * GIB,
    logit_bytes=WHOLE,
    state_bytes=PURE,
)
# Snowflake's tables for Llama 3.1 8B; ALST is their sequence parallelism with tiles and activations in the host.
OFFLOADED = FULL | {"offload": {"optimizer": "cpu"}}
BOTH_OFFLOADED = FULL | {"offload": {"optimizer": "cpu", "parameters": "cpu"}}
SHARED = OFFLOADED | {"sequence_parallel": 8} | FUSED
TILED = {"mlp_tile_tokens": 4_096}
ARCTIC = MemoryRow("ArcticTraining, HF", LLAMA_3_8B, "8xH100-80", 32_000, OFFLOADED, logit_bytes=WHOLE, is_limit=True)
UNSLOTH = MemoryRow(
    "Unsloth's table, HF with FlashAttention-2, QLoRA",
    LLAMA_3_8B,
    "1x4090",
    5_789,
    ALONE,
    lora={"rank": 32, "alpha": 64, "target_modules": ALL_LINEAR} | NF4,
    logit_bytes=WHOLE,
    state_bytes=MIXED,
    is_limit=True,
)
# fmt: off
MEMORIES = (
    QWEN_ROW,
    replace(QWEN_ROW, length=8_192, gigabytes=36.6),
    replace(QWEN_ROW, source=QWEN_BOTH, gigabytes=39.2, others=QWEN_TRAINED),
    replace(QWEN_ROW, source=QWEN_BOTH, length=8_192, gigabytes=48.5, others=QWEN_TRAINED),
    MS_SWIFT,
    LITGPT,
    replace(LITGPT, sequences=2, gigabytes=29.07),
    replace(LITGPT, source="litgpt, Llama 2 7B QLoRA", lora=LITGPT_LORA | NF4, gigabytes=14.14, within=None),
    replace(LITGPT, source="litgpt, LoRA, A10G", devices="1xA10G", length=512, sequences=2, gigabytes=19.8,
            within=None),
    replace(LITGPT, source="litgpt, QLoRA, A10G", devices="1xA10G", length=512, sequences=2, gigabytes=13.7,
            within=None, lora=LITGPT_LORA | NF4),
    replace(QWEN_ROW, source="Qwen, 7B QLoRA", lora=QWEN_LORA | NF4, gigabytes=16.9, within=None),
    replace(QWEN_ROW, source="Qwen, 7B QLoRA", lora=QWEN_LORA | NF4, length=8_192, gigabytes=23.5, within=None),
    TORCHTITAN,
    replace(TORCHTITAN, source="torchtitan, Llama 3.1 8B, compiled", machine=FULL | FUSED, gigabytes=77.0 * GIB),
    replace(TORCHTITAN, source="torchtitan, Llama 3.1 8B, compiled", machine=FULL | FUSED, gigabytes=62.0 * GIB,
            devices="128xH100-NVL", state_bytes=MIXED / 128),
    TORCHTITAN_LONG,
    replace(TORCHTITAN_LONG, length=262_144, machine=FULL | {"sequence_parallel": 8}),
    TORCHTUNE,
    replace(TORCHTUNE, source="torchtune, compiled", machine=TORCHTUNE.machine | FUSED, gigabytes=51.0 * GIB),
    replace(TORCHTUNE, source="torchtune, compiled, loss in pieces", machine=TORCHTUNE.machine | FUSED,
            gigabytes=42.9 * GIB, logit_bytes=None),
    replace(TORCHTUNE, source="torchtune, the same, layers recomputed", machine=ALONE | FUSED, gigabytes=24.9 * GIB,
            logit_bytes=None),
    replace(ARCTIC, devices="1xH100-80", machine=BOTH_OFFLOADED),
    ARCTIC,
    replace(ARCTIC, devices="32xH100-80", length=36_000),
    replace(ARCTIC, devices="1xH200", length=65_000, gigabytes=137.0),
    replace(ARCTIC, length=64_000, fits=False),
    replace(ARCTIC, source="ArcticTraining, Liger", length=160_000, machine=OFFLOADED | FUSED, logit_bytes=None),
    replace(ARCTIC, source="ArcticTraining, Liger", length=320_000, machine=OFFLOADED | FUSED, logit_bytes=None,
            fits=False),
    replace(ARCTIC, source="ArcticTraining, Liger", devices="1xH200", length=300_000, machine=OFFLOADED | FUSED,
            logit_bytes=None),
    replace(ARCTIC, source="ArcticTraining, shared by 8", length=1_100_000, machine=SHARED, logit_bytes=None),
    replace(ARCTIC, source="ArcticTraining, shared by 8", length=2_200_000, machine=SHARED, logit_bytes=None,
            fits=False),
    replace(ARCTIC, source="ArcticTraining, shared by 8, tiles", length=1_200_000, machine=SHARED | TILED,
            logit_bytes=None),
    replace(ARCTIC, source="ArcticTraining, shared, activations in the host", length=2_400_000, machine=SHARED,
            logit_bytes=None, offloads_activations=True),
    replace(ARCTIC, source="ALST", length=3_700_000, machine=SHARED | TILED, logit_bytes=None,
            offloads_activations=True),
    replace(ARCTIC, source="ALST", devices="1xH100-80", length=500_000, machine=BOTH_OFFLOADED | FUSED | TILED,
            logit_bytes=None, offloads_activations=True),
    replace(ARCTIC, source="ALST", devices="1xH200", length=1_200_000, machine=BOTH_OFFLOADED | FUSED | TILED,
            logit_bytes=None, offloads_activations=True),
    MemoryRow("Liger's README, HF, 8 sequences", LLAMA_3_8B, "8xA100-80", 4_096, FULL, sequences=8, logit_bytes=WHOLE,
            state_bytes=MIXED / 8, others=GATHERED, fits=False),
    MemoryRow("Liger's README, Liger, 8 sequences", LLAMA_3_8B, "8xA100-80", 16_384, FULL | FUSED, sequences=8,
            state_bytes=MIXED / 8, others=GATHERED),
    MemoryRow("EasyContext, Llama 2 7B", LLAMA_2_7B, "8xA100-80", 700_000,
            BOTH_OFFLOADED | {"sequence_parallel": 8} | FUSED, is_limit=True),
    UNSLOTH,
    replace(UNSLOTH, length=2 * 5_789, fits=False),
    replace(UNSLOTH, devices="1xA100-40", length=12_264),
    replace(UNSLOTH, devices="1xA100-40", length=2 * 12_264, fits=False),
    replace(UNSLOTH, devices="1xA100-80", length=28_454),
    replace(UNSLOTH, devices="1xA100-80", length=2 * 28_454, fits=False),
    replace(TORCHTITAN, source="torchtitan, Llama 3.1 8B, Float8", machine=FULL | FUSED, gigabytes=76.8 * GIB),
    replace(TORCHTITAN, source="torchtitan, Llama 3.1 8B, Float8", machine=FULL | FUSED, gigabytes=61.8 * GIB,
            devices="128xH100-NVL", state_bytes=MIXED / 128),
    replace(TORCHTITAN, source="Trainy, Llama 3.1 8B, Float8", machine=FULL | FUSED, gigabytes=48.0 * GIB,
            devices="32xH200", state_bytes=MIXED / 32),
    replace(TORCHTITAN_LONG, length=65_536, machine=FULL | {"sequence_parallel": 2}),
    replace(TORCHTITAN_LONG, length=131_072, machine=FULL | {"sequence_parallel": 4}),
    replace(TORCHTUNE, source="torchtune, the same, LoRA", machine=ALONE | FUSED, gigabytes=8.5 * GIB,
            logit_bytes=None, lora={"rank": 8, "alpha": 16, "target_modules": ALL_LINEAR}),
    replace(ARCTIC, source="ALST", devices="16xH100-80", length=8_000_000,
            machine=SHARED | TILED | {"sequence_parallel": 16}, logit_bytes=None, offloads_activations=True),
    replace(ARCTIC, source="ALST", devices="32xH100-80", length=15_000_000,
            machine=SHARED | TILED | {"sequence_parallel": 32}, logit_bytes=None, offloads_activations=True),
    replace(ARCTIC, source="ArcticTraining, activations in the host", devices="1xH200", length=650_000,
            machine=BOTH_OFFLOADED | FUSED, logit_bytes=None, offloads_activations=True),
    MemoryRow("LongLoRA, Llama 2 7B", LLAMA_2_7B, "8xA100-80", 100_000, FULL, lora=LITGPT_LORA, logit_bytes=WHOLE,
            is_limit=True),
    replace(UNSLOTH, source="Unsloth", length=78_475, machine=ALONE | FUSED, logit_bytes=None,
            offloads_activations=True),
    replace(UNSLOTH, source="Unsloth", devices="1xA100-40", length=153_977, machine=ALONE | FUSED, logit_bytes=None,
            offloads_activations=True),
    replace(UNSLOTH, source="Unsloth", devices="1xA100-80", length=342_733, machine=ALONE | FUSED, logit_bytes=None,
            offloads_activations=True),
)
# fmt: on
