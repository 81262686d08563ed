"""How fast others trained models of this kind: their settings, in this project's words, and tokens per second.

From the tables of model cards, READMEs and articles; each row names its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codellama_train.planning.shape import ModelShape

LLAMA_2_7B = ModelShape(4096, 11_008, 32, 32, 32, 128, 32_000)
LLAMA_2_13B = ModelShape(5120, 13_824, 40, 40, 40, 128, 32_000)
LLAMA_2_70B = ModelShape(8192, 28_672, 80, 64, 8, 128, 32_000)
LLAMA_3_8B = ModelShape(4096, 14_336, 32, 32, 8, 128, 128_256)
QWEN_7B = ModelShape(4096, 11_008, 32, 32, 32, 128, 151_936)
QWEN_2_5_7B = ModelShape(3584, 18_944, 28, 28, 4, 128, 152_064)
# MPT's feed-forward part has two matrices of four times the hidden size: as many weights as three of 8/3.
MPT_7B = ModelShape(4096, 10_923, 32, 32, 32, 128, 50_432, tied=True)
MPT_13B = ModelShape(5120, 13_653, 40, 40, 40, 128, 50_432, tied=True)

LLAMA_3_2_3B = ModelShape(3072, 8_192, 28, 24, 8, 128, 128_256, tied=True)

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FULL = {"zero_stage": 3, "activation_checkpointing": True}  # FSDP's full shard is ZeRO 3
KEPT = {"zero_stage": 3, "activation_checkpointing": False}
ALONE = {"zero_stage": 1, "activation_checkpointing": True}
FUSED = {"kernels": "liger"}


@dataclass(frozen=True)
class SpeedRow:
    """How fast someone trained; `micro_steps` are those of a step, `tokens_per_second` those of a device."""

    source: str
    shape: ModelShape
    devices: str
    length: int
    sequences: int
    machine: Mapping[str, Any]
    tokens_per_second: float
    micro_steps: int = 1
    lora: Mapping[str, Any] | None = None


FOUNDRY = "llm-foundry, MPT-7B"
FOUNDRY_13B = "llm-foundry, MPT-13B"
CARD = "Llama 2's card (settings not told)"
QWEN_LORA = {
    "rank": 64,
    "alpha": 16,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj"],
}
SPEEDS = (
    SpeedRow(FOUNDRY, MPT_7B, "8xA100-80", 2_048, 6, KEPT | FUSED, 4_641),
    SpeedRow(FOUNDRY, MPT_7B, "8xA100-80", 4_096, 16, FULL | FUSED, 3_684),
    SpeedRow(FOUNDRY, MPT_7B, "8xA100-80", 8_192, 8, FULL | FUSED, 3_206),
    SpeedRow(FOUNDRY, MPT_7B, "8xA100-80", 16_384, 4, FULL | FUSED, 2_453),
    SpeedRow(FOUNDRY, MPT_7B, "8xA100-80", 32_768, 2, FULL | FUSED, 1_672),
    SpeedRow(FOUNDRY, MPT_7B, "8xA100-80", 65_536, 1, FULL | FUSED, 1_013),
    SpeedRow(FOUNDRY, MPT_7B, "8xA100-40", 4_096, 6, FULL | FUSED, 3_366),
    SpeedRow(FOUNDRY, MPT_7B, "8xA100-40", 16_384, 1, FULL | FUSED, 2_249),
    SpeedRow(FOUNDRY, MPT_7B, "8xH100-80", 2_048, 6, KEPT | FUSED, 10_643),
    SpeedRow(FOUNDRY, MPT_7B, "8xH100-80", 4_096, 16, FULL | FUSED, 8_611),
    SpeedRow(FOUNDRY, MPT_7B, "8xH100-80", 8_192, 8, FULL | FUSED, 6_935),
    SpeedRow(FOUNDRY, MPT_7B, "8xH100-80", 32_768, 2, FULL | FUSED, 3_318),
    SpeedRow(FOUNDRY, MPT_7B, "8xH100-80", 65_536, 1, FULL | FUSED, 1_956),
    SpeedRow(FOUNDRY, MPT_7B, "512xH100-80", 2_048, 6, KEPT | FUSED, 9_670),
    SpeedRow(FOUNDRY_13B, MPT_13B, "8xA100-80", 4_096, 10, FULL | FUSED, 2_060),
    SpeedRow(FOUNDRY_13B, MPT_13B, "8xA100-80", 16_384, 3, FULL | FUSED, 1_431),
    SpeedRow(FOUNDRY_13B, MPT_13B, "8xH100-80", 4_096, 10, FULL | FUSED, 4_717),
    SpeedRow(FOUNDRY_13B, MPT_13B, "8xH100-80", 16_384, 3, FULL | FUSED, 2_985),
    SpeedRow(CARD, LLAMA_2_7B, "64xA100-80", 4_096, 1, KEPT | FUSED, 3_014),
    SpeedRow(CARD, LLAMA_2_13B, "64xA100-80", 4_096, 1, KEPT | FUSED, 1_507),
    SpeedRow(CARD, LLAMA_2_70B, "512xA100-80", 4_096, 1, KEPT | FUSED, 323),
    SpeedRow("IBM and Meta, FSDP, Llama 7B", LLAMA_2_7B, "128xA100-80", 4_096, 2, KEPT | FUSED, 3_700),
    # Its H100s have 96 GB of slower memory and 500 W.
    SpeedRow("torchtitan, Llama 3.1 8B", LLAMA_3_8B, "8xH100-80", 8_192, 2, KEPT, 5_762),
    SpeedRow("torchtitan, Llama 3.1 8B, compiled", LLAMA_3_8B, "8xH100-80", 8_192, 2, KEPT | FUSED, 6_667),
    SpeedRow("torchtitan, Llama 3.1 8B, compiled", LLAMA_3_8B, "128xH100-80", 8_192, 2, KEPT | FUSED, 6_514),
    SpeedRow("KempnerForge, 7B", LLAMA_2_7B, "1xH200", 4_096, 4, ALONE | FUSED, 10_471),
    SpeedRow("KempnerForge, 7B", LLAMA_2_7B, "4xH200", 4_096, 4, FULL | FUSED, 9_746),
    SpeedRow("ms-swift, Qwen2.5-7B, ZeRO 3, Liger", QWEN_2_5_7B, "4xA100-80", 16_384, 1, FULL | FUSED, 3_277, 2),
    SpeedRow("EasyContext, Llama 2 7B, ZeRO 3", LLAMA_2_7B, "8xA100-80", 65_536, 1, FULL, 1_280),
    SpeedRow("Qwen, 7B LoRA", QWEN_7B, "1xA100-80", 4_096, 1, ALONE, 3_244, 8, QWEN_LORA),
    SpeedRow("Qwen, 7B LoRA", QWEN_7B, "1xA100-80", 8_192, 1, ALONE, 3_077, 8, QWEN_LORA),
    SpeedRow("Qwen, 7B QLoRA", QWEN_7B, "1xA100-80", 4_096, 1, ALONE, 2_825, 8, QWEN_LORA | {"quantization": "nf4"}),
    SpeedRow("Qwen, 7B QLoRA", QWEN_7B, "1xA100-80", 8_192, 1, ALONE, 2_939, 8, QWEN_LORA | {"quantization": "nf4"}),
)
