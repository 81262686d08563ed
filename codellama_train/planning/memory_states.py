"""Bytes of weights, gradients and optimizer on one device, as DeepSpeed's ZeRO holds them from moment to moment.

The names in comments are those of DeepSpeed 0.19.8's source, from which each formula is read.
"""

from __future__ import annotations

from dataclasses import dataclass

from codellama_train.planning.memory_activations import BF16, FP32
from codellama_train.planning.shape import ModelShape, adapted_layers, trained_parameters
from codellama_train.recipe.training import TrainingRecipe, sequence_groups, sequences_per_rank

FP64 = 8
Parts = dict[str, int]

# Elements, not bytes: DeepSpeed's defaults (zero/config.py), which engine.py leaves but for a lone processor.
BUCKET, MAX_LIVE, SUB_GROUP, ALL_REDUCE = 500_000_000, 10**9, 10**9, 500_000_000
ALONE_BUCKET = 4_000_000  # engine.py
NVME_BUFFERS = {"optimizer": 4, "parameters": 5}  # zero/offload_config.py
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # four bits, a byte of scale for 64 weights, a float32 for 256 of these


@dataclass(frozen=True)
class Sizes:
    """The numbers that the formulas are made of; weights are counted, not yet in bytes."""

    stage: int
    devices: int
    trained: int
    frozen_bytes: int
    largest: int  # of the trained weights, one parameter
    matrices: int  # trained weights that are in matrices; the rest, vectors, are a group of their own
    gathered: int  # weights that ZeRO-3 puts together at a time
    embedding: int  # weights of the embedding, where it trains
    head: int  # weights of the output layer, where it trains
    accumulates: bool  # several micro-steps, whose gradients are summed in float32
    optimizer_place: str | None
    parameters_place: str | None
    bucket: int
    on_gpu: bool

    @property
    def is_bf16_optimizer(self) -> bool:
        """Tell whether DeepSpeed takes its BF16_Optimizer, which keeps whole gradients (engine.py, sanity check)."""
        return self.stage == 1 and self.accumulates and not self.optimizer_place

    @property
    def share(self) -> int:
        """Trained weights that one device updates."""
        return -(-self.trained // self.devices)

    @property
    def norm(self) -> int:
        """Bytes of a gradient's norm, which is taken in float64, one parameter at a time (get_norm_dtype)."""
        return FP64 * min(self.largest, self.share)

    @property
    def norm_of_sent(self) -> int:
        """Bytes of that norm where it is taken as gradients leave for the host, and not in the update."""
        return self.norm if self.optimizer_place else 0

    def filled(self, done: int) -> int:
        """Count the elements of a bucket in which `done` gradients have been put; a GPU's is taken whole at once."""
        return self.bucket if self.on_gpu else min(done, self.bucket)


def sizes_of(recipe: TrainingRecipe, shape: ModelShape, *, num_devices: int, on_gpu: bool) -> Sizes:
    """Gather the sizes of a recipe on so many devices."""
    machine, lora, trained = recipe.machine, recipe.lora, trained_parameters(recipe, shape)
    rows = sequences_per_rank(recipe.sequences_per_step, sequence_groups(num_devices, machine.sequence_parallel))
    sizes = shape.linear_layers.values() if lora is None else adapted_layers(lora, shape).values()
    largest = max(a * b for a, b in sizes) if lora is None else max(lora.rank * max(a, b) for a, b in sizes)
    embedding = 0 if lora else shape.embedding_parameters
    vectors = shape.norm_parameters if lora is None else 0
    if lora and lora.use_dora:
        vectors = shape.num_layers * sum(outputs for _, outputs in sizes)
    frozen = 0 if lora is None else shape.num_parameters
    quantized = shape.num_layers * shape.layer_matrices if lora and lora.quantization else 0
    offload = machine.offload
    return Sizes(
        stage=machine.zero_stage,
        devices=num_devices,
        trained=trained,
        frozen_bytes=round(BF16 * (frozen - quantized) + NF4_BYTES * quantized),
        largest=max(largest, embedding),
        matrices=trained - vectors,
        gathered=gathered_weights(recipe, shape, num_devices=num_devices, on_gpu=on_gpu),
        embedding=embedding,
        head=embedding,
        accumulates=-(-rows // machine.sequences_per_device) > 1,
        optimizer_place=offload.optimizer if offload else None,
        parameters_place=offload.parameters if offload else None,
        bucket=ALONE_BUCKET if num_devices == 1 and not on_gpu else BUCKET,
        on_gpu=on_gpu,
    )


def gathered_weights(recipe: TrainingRecipe, shape: ModelShape, *, num_devices: int, on_gpu: bool) -> int:
    """Count the weights that ZeRO-3 keeps together at once.

    What is fetched ahead and met again is kept, as long as fewer than MAX_LIVE weights are there; to these comes the
    module at work (partitioned_param_coordinator.py). A device alone works on what it holds.
    """
    machine = recipe.machine
    is_elsewhere = on_gpu and machine.offload is not None and machine.offload.parameters is not None
    if machine.zero_stage != 3 or not (num_devices > 1 or is_elsewhere):
        return 0
    module = max(shape.embedding_parameters, *(inputs * outputs for inputs, outputs in shape.linear_layers.values()))
    return min(shape.num_parameters, MAX_LIVE + module)


def lasting(sizes: Sizes) -> Parts:
    """Give what a device holds from one step to the next."""
    weights = sizes.frozen_bytes + BF16 * sizes.trained
    if sizes.stage == 3:
        weights = 0 if sizes.parameters_place else weights // sizes.devices
    parts = {"weights": weights}
    if not sizes.optimizer_place:
        parts["optimizer"] = 3 * FP32 * sizes.share  # float32 weights and two moments
    elif sizes.stage != 3:
        parts["buffers"] = BF16 * sizes.largest  # temp_grad_buffer_for_gpu_offload
    if sizes.is_bf16_optimizer:
        parts["accumulated gradients"] = FP32 * sizes.trained  # fp32_groups_gradients_flat: whole on each device
    elif sizes.stage == 3 and not sizes.optimizer_place:
        parts[gradient_part(sizes)] = gradient_bytes(sizes) * sizes.share  # grad_partitions_flat_buffer
    if sizes.stage == 3:
        parts["buffers"] = BF16 * sizes.filled(sizes.trained)  # ipg_buckets, as long as the run
    return parts


def gradient_part(sizes: Sizes) -> str:
    """Name the part that reduced gradients belong to."""
    return "accumulated gradients" if sizes.accumulates else "gradients"


def gradient_bytes(sizes: Sizes) -> int:
    """Give the bytes of one reduced gradient."""
    return FP32 if sizes.accumulates else BF16


def between_micro_steps(sizes: Sizes) -> Parts:
    """Give the gradients that earlier micro-steps have left while forward runs."""
    if not sizes.accumulates or sizes.stage == 3:
        return {}
    if sizes.is_bf16_optimizer:
        return {"gradients": BF16 * sizes.trained}  # set to zero, not given back (clear_lp_grads)
    if sizes.stage == 1:
        return {"accumulated gradients": FP32 * sizes.trained}  # grad_accum, as the optimizer is elsewhere
    return {"accumulated gradients": FP32 * sizes.share}  # averaged_gradients


def in_backward(sizes: Sizes, *, done: int) -> Parts:
    """Give the gradients and buffers once backward has made `done` of the gradients."""
    earlier = between_micro_steps(sizes)
    if sizes.is_bf16_optimizer:
        return earlier
    if sizes.stage == 1:  # reduced after backward; the bucket is there from the first gradient on
        own = {} if sizes.accumulates else {"gradients": BF16 * done}
        return add(earlier, own, {"buffers": gradient_bytes(sizes) * sizes.bucket * sizes.on_gpu})
    is_sent = done > sizes.bucket or done == sizes.trained
    sent = min(done, sizes.bucket) if is_sent else 0
    if sizes.stage == 3:
        # reduce_scatter_coalesced puts a bucket in the order of the devices; sums in float32 need a device's part so
        part = FP32 * sent // sizes.devices if sizes.accumulates else 0
        return {"buffers": BF16 * sent + part + (sizes.norm_of_sent if is_sent else 0)}
    # A bucket's slices for several devices, or for the sums, are copied into one (allreduce_bucket).
    copied = BF16 * sent if sizes.devices > 1 or sizes.accumulates else 0
    to_sum = FP32 * min(sizes.largest, sent) if sizes.accumulates else 0  # _add_to_grad_partition_buffer
    reduced = 0 if sizes.accumulates or sizes.optimizer_place or not is_sent else BF16 * sizes.share
    if done <= sizes.bucket:  # grads_in_partition is made when the first copy has gone
        copied = max(copied - reduced, 0)
    norm = sizes.norm_of_sent if is_sent else 0
    return add(earlier, {"gradients": reduced, "buffers": BF16 * sizes.filled(done) + max(copied + to_sum, norm)})


def in_reduction(sizes: Sizes) -> Parts:
    """Give the gradients and buffers while stage 1, after backward, sums what the devices have."""
    if sizes.stage != 1:
        return in_backward(sizes, done=sizes.trained)
    if sizes.is_bf16_optimizer:
        # Sent in bfloat16 (communication_data_type); groups small enough are first put into one (allreduce_bucket).
        are_joined = sizes.matrices < sizes.trained and sizes.matrices <= ALL_REDUCE
        copied = (FP32 if are_joined else 0) + BF16
        return {"gradients": BF16 * sizes.trained, "buffers": copied * sizes.trained}
    each = gradient_bytes(sizes)
    filled = min(sizes.trained, sizes.bucket) if sizes.largest <= sizes.bucket else 0
    reduced = 0 if sizes.optimizer_place and not sizes.accumulates else each * sizes.share
    reduced += sizes.norm_of_sent
    # Gradients move into the bucket; then it is copied to be sent, or their reduced share is put aside.
    others = each * (sizes.trained - filled) + max(each * filled if sizes.devices > 1 else 0, reduced)
    return {gradient_part(sizes): others, "buffers": each * sizes.filled(sizes.trained)}


def in_update(sizes: Sizes) -> Parts:
    """Give what the update holds beside what lasts: reduced gradients, their float32 copy, or a norm in float64."""
    norm = sizes.norm
    if sizes.optimizer_place:
        return between_micro_steps(sizes)
    if sizes.is_bf16_optimizer:
        return {"gradients": BF16 * sizes.trained}
    if sizes.stage == 3:  # _prepare_fp32_grad_for_sub_group, one sub-group at a time
        group = min(sizes.share, SUB_GROUP + sizes.largest // sizes.devices)
        return {"buffers": max((BF16 if not sizes.accumulates else 0) * group + FP32 * group, norm)}
    if sizes.accumulates:  # the sums are what is updated by
        return {"accumulated gradients": FP32 * sizes.share, "buffers": norm}
    # Reduced gradients, flattened, and in float32: the first two are freed when the last is there (step).
    return {"gradients": BF16 * sizes.share, "buffers": max((BF16 + FP32) * sizes.share, norm)}


def on_host(sizes: Sizes) -> Parts:
    """Give what a device's process holds in the host's memory."""
    parts: Parts = {}
    share, group = sizes.share, min(sizes.share, SUB_GROUP + sizes.largest // sizes.devices)
    if sizes.optimizer_place == "cpu":
        parts["optimizer"] = 4 * FP32 * share  # float32 weights, two moments, gradients
        if sizes.stage == 3:
            parts["gradients"] = gradient_bytes(sizes) * share  # grad_partitions_flat_buffer
        else:
            parts["buffers"] = BF16 * (share + sizes.largest)  # updated weights; temp_grad_buffer_for_cpu_offload
    elif sizes.optimizer_place == "nvme":
        parts["optimizer"] = NVME_BUFFERS["optimizer"] * FP32 * group
        parts["gradients"] = gradient_bytes(sizes) * share
    if sizes.parameters_place == "cpu":
        parts["weights"] = (sizes.frozen_bytes + BF16 * sizes.trained) // sizes.devices
    elif sizes.parameters_place == "nvme":
        parts["weights"] = NVME_BUFFERS["parameters"] * BF16 * -(-sizes.largest // sizes.devices)
    return parts


def add(*parts: Parts) -> Parts:
    """Sum parts by name."""
    names = dict.fromkeys(name for each in parts for name in each)
    return {name: sum(each.get(name, 0) for each in parts) for name in names}
