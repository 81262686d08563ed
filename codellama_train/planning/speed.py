"""How long a step takes, part by part: counted arithmetic and bytes over what devices and links reach."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from codellama_train.flops import training_flops_per_token
from codellama_train.planning import assumptions
from codellama_train.planning.devices import Cluster
from codellama_train.planning.shape import ModelShape, trained_parameters
from codellama_train.recipe.training import TrainingRecipe, sequence_groups, sequences_per_rank

WEIGHT_BYTES = 2  # bfloat16, also of gradients on their way
# AdamW reads and writes float32 weights and two moments and reads gradients (28); on a device the gradients are read
# for their norm and scaled (8), and bfloat16 weights written (2).
HOST_UPDATE_BYTES, DEVICE_UPDATE_BYTES = 28, 38
ACCUMULATION_BYTES = 8  # float32 gradients fetched from the host and put back in each micro-step
DRIVE_UPDATE_BYTES = 24  # weights and moments, read and written


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step by part, and what follows from them."""

    parts: dict[str, float]
    tokens_per_step: int
    flops_per_token: int
    cluster: Cluster

    @property
    def seconds(self) -> float:
        """Seconds of a step."""
        return sum(self.parts.values())

    @property
    def tokens_per_second(self) -> float:
        """Tokens per second of all devices."""
        return self.tokens_per_step / self.seconds

    @property
    def tokens_per_second_per_device(self) -> float:
        """Tokens per second of one device."""
        return self.tokens_per_second / self.cluster.num_devices

    @property
    def mfu(self) -> float:
        """Model FLOPs, without what is computed again, as a share of the peak."""
        return self.tokens_per_second_per_device * self.flops_per_token / self.cluster.device.peak_flops


@dataclass(frozen=True)
class Load:
    """What each device has to do in a step."""

    recipe: TrainingRecipe
    shape: ModelShape
    cluster: Cluster
    rows: int  # sequences of the devices that share them
    tokens: float  # of one device, padded rows included

    @property
    def micro_steps(self) -> int:
        """Forward and backward passes."""
        return -(-self.rows // self.recipe.machine.sequences_per_device)


def time_of(recipe: TrainingRecipe, shape: ModelShape, cluster: Cluster) -> StepTime:
    """Foretell a step's seconds on a cluster; validation and saving, which come between steps, not included."""
    machine = recipe.machine
    groups = sequence_groups(cluster.num_devices, machine.sequence_parallel)
    rows = sequences_per_rank(recipe.sequences_per_step, groups)
    length = recipe.data.sequence_length
    load = Load(recipe, shape, cluster, rows, rows * length / machine.sequence_parallel)
    per_token = training_flops_per_token(shape, lora=recipe.lora, sequence_length=length)
    arithmetic, recomputation = arithmetic_seconds(load, per_token), recomputation_seconds(load)
    starting = load.micro_steps * shape.num_layers * assumptions.LAYER_SECONDS.value
    exchanged = exchange_seconds(load, hidden_behind=arithmetic + recomputation)
    parts = {
        "arithmetic": arithmetic,
        "recomputation": recomputation,
        "waiting for kernels to start": max(starting - arithmetic - recomputation, 0.0),
        "exchange of weights and gradients": exchanged,
        "exchange of sequences": sequence_exchange_seconds(load),
        "update": update_seconds(load),
    }
    return StepTime(parts, recipe.sequences_per_step * length, per_token, cluster)


def arithmetic_seconds(load: Load, flops_per_token: int) -> float:
    """Give the seconds of a step's forward and backward."""
    attention = 3 * forward_attention_flops(load)
    return load.tokens * seconds_per_token(load, matrices=flops_per_token - attention, attention=attention)


def recomputation_seconds(load: Load) -> float:
    """Give the seconds of what is computed again: layers where activations are not kept, tiles of the feed-forward."""
    shape, machine = load.shape, load.recipe.machine
    seconds = 0.0
    if machine.activation_checkpointing:
        matrices = 2 * shape.num_layers * shape.layer_matrices
        seconds += seconds_per_token(load, matrices=matrices, attention=forward_attention_flops(load))
    if machine.mlp_tile_tokens and machine.mlp_tile_tokens < load.tokens / load.rows * machine.sequences_per_device:
        tiles = 2 * shape.num_layers * 3 * shape.hidden_size * shape.intermediate_size
        seconds += seconds_per_token(load, matrices=tiles, attention=0)
    return load.tokens * seconds


def forward_attention_flops(load: Load) -> int:
    """Count what a token's attention takes forward, a mean over the sequence: half of the tokens lie before it."""
    return 2 * load.shape.num_layers * load.shape.attention_width * load.recipe.data.sequence_length


def seconds_per_token(load: Load, *, matrices: float, attention: float) -> float:
    """Give the seconds that so many FLOPs per token take."""
    recipe, device = load.recipe, load.cluster.device
    reached = assumptions.utilisation_of(device)
    share = reached.matrices.value
    if not recipe.machine.compile and recipe.machine.kernels is None:
        share *= assumptions.UNFUSED.value
    if recipe.lora is not None and recipe.lora.quantization:
        share *= assumptions.NF4.value
    return (matrices / share + attention / reached.attention.value) / device.peak_flops


def exchange_seconds(load: Load, *, hidden_behind: float) -> float:
    """Give the seconds that devices wait for each other's weights and gradients.

    ZeRO 1 sums gradients once a step, ZeRO 2 in every micro-step, and both hand out the updated weights. In
    DeepSpeed's sums each device gets all of them (use_multi_rank_bucket_allreduce), which takes twice their bytes.
    ZeRO 3 gives gradients to their owners alone, and collects the weights for forward and for backward each time.
    """
    num_devices, steps = load.cluster.num_devices, load.micro_steps
    weights = WEIGHT_BYTES * load.shape.num_parameters
    trained = WEIGHT_BYTES * trained_parameters(load.recipe, load.shape)
    bandwidth = collective_bandwidth(load.cluster)
    share_sent = (num_devices - 1) / num_devices
    stage = load.recipe.machine.zero_stage
    if stage < 3:
        return share_sent * trained * (2 * (1 if stage == 1 else steps) + 1) / bandwidth
    seconds = share_sent * steps * (2 * weights + trained) / bandwidth
    fetched = 2 * steps * weights / num_devices / parameter_bandwidth(load)
    return max((1 - assumptions.HIDDEN.value) * seconds, seconds - hidden_behind) + fetched


def collective_bandwidth(cluster: Cluster) -> float:
    """Give the bytes per second that each device sends in a ring, which passes a node by its whole network."""
    bandwidth = cluster.device.link_bytes_per_second
    if cluster.num_nodes > 1:
        node = cluster.device.node
        bandwidth = min(bandwidth, node.network_bytes_per_second * node.num_devices)
    return bandwidth * assumptions.COLLECTIVE.value


def parameter_bandwidth(load: Load) -> float:
    """Give the bytes per second at which a device fetches its share of the weights from where they lie."""
    offload = load.recipe.machine.offload
    if offload is None or offload.parameters is None:
        return float("inf")
    if offload.parameters == "nvme":
        return assumptions.DRIVE_BYTES_PER_SECOND.value / load.cluster.device.devices_per_node
    return load.cluster.device.host_link_bytes_per_second * assumptions.HOST_LINK.value


def sequence_exchange_seconds(load: Load) -> float:
    """Give the seconds in which devices that share sequences exchange queries, keys, values and results."""
    shape, machine = load.shape, load.recipe.machine
    slices = machine.sequence_parallel
    repeats = slices // gcd(shape.num_kv_heads, slices)
    width = 2 * shape.attention_width + 2 * shape.key_width * repeats
    passes = 3 if machine.activation_checkpointing else 2
    sent = WEIGHT_BYTES * width * shape.num_layers * passes * load.tokens * (slices - 1) / slices
    device = load.cluster.device
    is_near = slices <= device.devices_per_node
    bandwidth = device.link_bytes_per_second if is_near else device.node.network_bytes_per_second
    return sent / (bandwidth * assumptions.COLLECTIVE.value)


def update_seconds(load: Load) -> float:
    """Give the seconds of the update, with the way to the host's memory and back where the optimizer lies there."""
    device, offload = load.cluster.device, load.recipe.machine.offload
    weights = trained_parameters(load.recipe, load.shape) / load.cluster.num_devices
    if offload is None or offload.optimizer is None:
        return weights * DEVICE_UPDATE_BYTES / (device.memory_bytes_per_second * assumptions.DEVICE_UPDATE.value)
    host = device.node.host_memory_bytes_per_second / device.devices_per_node * assumptions.HOST_UPDATE.value
    link = device.host_link_bytes_per_second * assumptions.HOST_LINK.value
    moved = WEIGHT_BYTES + ACCUMULATION_BYTES * load.micro_steps
    seconds = weights * (HOST_UPDATE_BYTES / host + moved / link)
    if offload.optimizer == "nvme":
        drive = assumptions.DRIVE_BYTES_PER_SECOND.value / device.devices_per_node
        seconds += weights * DRIVE_UPDATE_BYTES / drive
    return seconds
