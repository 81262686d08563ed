"""How much arithmetic training takes per token, and how much a device can do: what MFU is made of. Imports no torch.

These are model FLOPs, as in PaLM's MFU: what the model needs. What activation checkpointing computes a second time is
not counted, nor are norms, rotations, softmax and the optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codellama_train.planning.devices import PEAK_FLOPS
from codellama_train.planning.shape import ModelShape, adapted_layers
from codellama_train.recipe.training import Lora

FORMULA = (
    "per token 6 x trained + 4 x frozen weights that multiply (all matrices and the output layer, not the embedding) "
    "+ 6 x layers x attention width x sequence length (causal: half of PaLM's 12; an upper bound where documents are "
    "masked); recomputation not counted"
)
FORWARD_AND_INPUT_GRADIENT, WITH_WEIGHT_GRADIENT = 4, 6


@dataclass(frozen=True)
class ModelFlops:
    """A training step's FLOPs per token, and the peak of the device that computes them; None where it is not known."""

    per_token: int
    device_name: str
    device_peak: float | None

    def as_record(self) -> dict[str, Any]:
        """Give what MFU is made of, for the record of a launch."""
        return {
            "formula": FORMULA,
            "per_token": self.per_token,
            "device": self.device_name,
            "device_peak_bfloat16_dense_per_second": self.device_peak,
        }

    def speed(self, tokens_per_second: float, *, num_devices: int) -> dict[str, float | None]:
        """Give tokens and model FLOPs per second of one device, and the latter's share of the peak."""
        tokens = tokens_per_second / num_devices
        flops = tokens * self.per_token
        return {
            "tokens_per_second_per_device": tokens,
            "model_flops_per_second_per_device": flops,
            "mfu": None if self.device_peak is None else flops / self.device_peak,
        }


def peak_flops(device_name: str) -> float | None:
    """Give a device's peak in dense bfloat16 FLOPs per second; None where it is not known, as of a processor."""
    return PEAK_FLOPS.get(device_name)


def training_flops_per_token(
    shape: ModelShape, *, lora: Lora | None, num_new_rows: int = 0, sequence_length: int
) -> int:
    """Count a training step's FLOPs per token by FORMULA.

    A multiplication and an addition are two; forward takes 2 per weight, the gradient of what comes in another 2, the
    weight's own gradient, which frozen weights do not need, 2 more. Attention has no weights: of a token's queries and
    values, the mean over the sequence sees half of it.
    """
    matrices = shape.num_layers * shape.layer_matrices + shape.embedding_parameters
    attention = 6 * shape.num_layers * shape.attention_width * sequence_length
    if lora is None:
        return WITH_WEIGHT_GRADIENT * matrices + attention
    products = sum(lora.rank * (inputs + outputs) for inputs, outputs in adapted_layers(lora, shape).values())
    trained = shape.num_layers * products + num_new_rows * shape.hidden_size
    return FORWARD_AND_INPUT_GRADIENT * matrices + WITH_WEIGHT_GRADIENT * trained + attention
