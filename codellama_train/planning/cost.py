"""What a stage costs: device hours, money, energy, carbon, and the hours of the paper's models beside them."""

from __future__ import annotations

from dataclasses import dataclass

from codellama_train.planning.layouts import Layout
from codellama_train.planning.shape import ModelShape

POWER_USAGE_EFFECTIVENESS = 1.1  # LLaMA's paper, section 6, as Meta's data centres; devices at their full power
CARBON_KG_PER_GPU_HOUR = 0.1633  # Code Llama's 228.55 t over 1,400,000 hours of an A100-80
LLAMA_2_TOKENS = 2e12
# Llama 2's model card: billions of weights, and hours of an A100-80 for those tokens (34B: the total less the others).
LLAMA_2_HOURS = {"7B": (6.74, 184_320), "13B": (13.02, 368_640), "34B": (33.74, 1_038_336), "70B": (68.98, 1_720_320)}
SAME_SIZE = 0.15  # a model within this of a size counts as of that size
PAPER_HOURS = (
    "The paper's own A100-80 hours: 400K for the nine models of 7B, 13B and 34B, 1,400K for all twelve with 70B."
)


@dataclass(frozen=True)
class Cost:
    """What running devices for some time takes; `dollars` is None where nobody said a price."""

    device_hours: float
    dollars: float | None
    kilowatt_hours: float
    carbon_kg: float


def cost_of(layout: Layout, *, dollars_per_hour: float | None) -> Cost:
    """Give what a stage in a layout takes."""
    cluster = layout.time.cluster
    hours = layout.days * 24 * cluster.num_devices
    return Cost(
        device_hours=hours,
        dollars=None if dollars_per_hour is None else hours * dollars_per_hour,
        kilowatt_hours=hours * cluster.device.watts / 1_000 * POWER_USAGE_EFFECTIVENESS,
        carbon_kg=hours * CARBON_KG_PER_GPU_HOUR,
    )


def llama_2_hours(shape: ModelShape, *, num_tokens: int) -> tuple[str, float] | None:
    """Name the size of Llama 2 that a shape has, and its A100-80 hours for so many tokens; None for other sizes."""
    for size, (billions, hours) in LLAMA_2_HOURS.items():
        if abs(shape.num_parameters / (billions * 1e9) - 1) < SAME_SIZE:
            return size, hours * num_tokens / LLAMA_2_TOKENS
    return None
