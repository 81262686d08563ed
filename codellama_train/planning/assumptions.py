"""What a plan assumes about speed, each with its value and where that is from: every plan prints them.

Rows are those of published tables for models of 7 to 8 billion weights. From a row's tokens per second follow seconds
per token; what its matrices and its attention need (recomputation included, attention counted causally) divides them.
"""

from __future__ import annotations

from dataclasses import dataclass

from codellama_train.planning.devices import Cluster, Device
from codellama_train.recipe.training import TrainingRecipe


@dataclass(frozen=True)
class Assumption:
    """A number that no arithmetic gives."""

    value: float
    meaning: str
    source: str


@dataclass(frozen=True)
class Utilisation:
    """The share of a device's peak that training reaches in products of matrices, and in attention."""

    matrices: Assumption
    attention: Assumption


def _utilisation(kind: str, *, matrices: float, rows: str, attention: float, attention_rows: str) -> Utilisation:
    return Utilisation(
        Assumption(matrices, f"of the peak in products of matrices, {kind}, fused kernels", rows),
        Assumption(attention, f"of the peak in causal attention, {kind}", attention_rows),
    )


AMPERE = _utilisation(
    "A100",
    matrices=0.60,
    # 231 of 271 us a token at 4,096 for 52.8 GFLOP: 73 %; Llama 2's 3,014 tokens/s in all: 42 %
    rows="between llm-foundry's MPT-7B on 8 A100 (3,684 tokens/s: 73 %) and Llama 2 7B's card (3,014: 42 %)",
    attention=0.55,
    attention_rows="FlashAttention-2's paper: 50 to 73 % of an A100's peak",
)
HOPPER = _utilisation(
    "H100, H200, GH200, B200",
    matrices=0.50,
    # 89.5 of 116.1 us a token at 4,096: 60 %; torchtitan 128 us of 150 for 45 GFLOP: 35 % of a peak its card lacks
    rows="between llm-foundry's MPT-7B on 8 H100 (8,611 tokens/s: 60 %) and torchtitan's Llama 3.1 8B (6,667: 35 %)",
    attention=0.30,
    attention_rows="FlashAttention-3's paper: FlashAttention-2 reaches 35 % of an H100's peak",
)
OTHERS = _utilisation(
    "cards without HBM",
    matrices=0.50,
    rows="torchtune's LoRA of Llama 3.1 8B on an RTX 4090 (3,083 tokens/s: 56 % where nothing is recomputed)",
    attention=0.40,
    attention_rows="assumed: no row states long sequences on such cards",
)

UNFUSED = Assumption(
    0.85,
    "of that where neither machine.compile nor machine.kernels fuses norms, activations and rotations",
    "torchtitan on H100: 5,762 tokens/s without torch.compile, 6,667 with it; Liger's README: 15 to 20 % faster",
)
NF4 = Assumption(
    0.80,
    "of that where the base's weights lie in four bits",
    "published LoRA to QLoRA: Qwen-7B 3,244 to 2,825 tokens/s, torchtune 3,083 to 2,413, litgpt 2.36 to 3.68 minutes",
)
LAYER_SECONDS = Assumption(
    1e-3,
    "seconds to start a layer's kernels, forward and backward, which a small model waits for",
    "assumed: transformers' Llama has about a hundred kernels in a layer",
)
COLLECTIVE = Assumption(
    0.80,
    "of the links' or the network's bandwidth where all exchange with all",
    "NCCL's maintainer: 370 GB/s of an H100's 450 (github.com/NVIDIA/nccl-tests/issues/212)",
)
HIDDEN = Assumption(
    0.80,
    "of ZeRO 3's exchanges hidden behind arithmetic; of ZeRO 1's and 2's none, as DeepSpeed does by default",
    "assumed: weights are fetched ahead; KempnerForge lost 7 % to all exchange on four H200 (10,471 to 9,746 tokens/s)",
)
DEVICE_UPDATE = Assumption(
    0.80,
    "of the device memory's bandwidth in AdamW, 38 bytes a weight with the gradients' norm",
    "assumed: torch's fused AdamW is bound by memory",
)
HOST_UPDATE = Assumption(
    0.45,
    "of the host memory's bandwidth in AdamW, 28 bytes a weight",
    "assumed: all cores together stream at a little under half of the peak",
)
HOST_LINK = Assumption(
    0.80,
    "of the bandwidth between a device and its host's pinned memory; none of it hidden behind arithmetic",
    "assumed: 25 of 31.5 GB/s is usual on PCIe 4; ZenFlow's makers saw devices idle for 60 % with offload",
)
DRIVE_BYTES_PER_SECOND = Assumption(
    5e9, "bytes per second of a node's NVMe drive, shared by its devices", "assumed: a drive on four lanes of PCIe 4"
)


def utilisation_of(device: Device) -> Utilisation:
    """Say what share of its peak a kind of device reaches."""
    if device.name.startswith("A100"):
        return AMPERE
    return HOPPER if device.name.startswith(("H100", "H200", "GH200", "B200")) else OTHERS


def used_by(recipe: TrainingRecipe, cluster: Cluster) -> list[Assumption]:
    """List what the time of a recipe on a cluster rests on."""
    machine, offload = recipe.machine, recipe.machine.offload
    reached = utilisation_of(cluster.device)
    is_unfused = not machine.compile and machine.kernels is None
    conditions = (
        (reached.matrices, True),
        (UNFUSED, is_unfused),
        (NF4, recipe.lora is not None and recipe.lora.quantization is not None),
        (reached.attention, True),
        (LAYER_SECONDS, True),
        (COLLECTIVE, cluster.num_devices > 1),
        (HIDDEN, cluster.num_devices > 1),
        (DEVICE_UPDATE, offload is None or offload.optimizer is None),
        (HOST_UPDATE, offload is not None),
        (HOST_LINK, offload is not None),
        (DRIVE_BYTES_PER_SECOND, offload is not None and offload.nvme_path is not None),
    )
    return [assumption for assumption, holds in conditions if holds]
