"""What plans count of a layer and of the loss, against the tensors that PyTorch really makes."""

from __future__ import annotations

import pytest
import torch
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
from deepspeed.runtime.zero.offload_config import DeepSpeedZeroOffloadOptimizerConfig, DeepSpeedZeroOffloadParamConfig
from live_tensors import LiveTensors
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from codellama_train import engine, loss
from codellama_train.lora import add_adapters
from codellama_train.planning import memory_activations, memory_states
from codellama_train.planning.memory_activations import layer_activations, loss_backward, loss_forward, mask_bytes
from codellama_train.planning.shape import shape_of_config
from codellama_train.quantization import as_four_bits
from codellama_train.recipe.training import Lora
from codellama_train.tiled_mlp import run_in_tiles

LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TOKENS = 2_048
SHAPE = {"hidden_size": 128, "intermediate_size": 320, "num_attention_heads": 4, "num_hidden_layers": 1}
ADAPTERS = {
    "none": None,
    "all": Lora(rank=16, alpha=16, target_modules=LAYERS),
    "two": Lora(rank=16, alpha=16, target_modules=["q_proj", "v_proj"]),
    "DoRA": Lora(rank=16, alpha=16, target_modules=LAYERS, use_dora=True),
}


class RealLayer:
    """A layer of a real Llama in bfloat16, and what it is called with."""

    def __init__(self, *, lora=None, kv_heads=4, tile_tokens=None, masked=False, compiled=False):
        config = LlamaConfig(**SHAPE, num_key_value_heads=kv_heads, vocab_size=64, attn_implementation="sdpa")
        model = LlamaForCausalLM(config).bfloat16()
        if lora:
            add_adapters(model, lora, seed=0)
            model.bfloat16()
        if tile_tokens:
            run_in_tiles(model, tile_tokens=tile_tokens)
        self.shape = shape_of_config(config.to_dict())
        self.layer = model.model.layers[0]
        if compiled:  # the partitioner that decides what is kept, without a compiler after it
            self.layer.compile(backend="aot_eager_decomp_partition", fullgraph=True, dynamic=False)
        positions = torch.arange(TOKENS)[None]
        self.hidden = torch.randn(1, TOKENS, 128, dtype=torch.bfloat16, requires_grad=True)
        self.others = {
            "position_embeddings": model.model.rotary_emb(self.hidden, positions),
            "attention_mask": loss.document_mask(positions) if masked else None,
        }
        known = [*model.parameters(), *model.buffers(), *self.others["position_embeddings"], self.hidden]
        self.known = known if not masked else [*known, self.others["attention_mask"]]

    def forward(self):
        return self.layer(self.hidden * 1, **self.others)

    def kept_bytes(self):
        """Give the bytes of what forward keeps for backward, each storage once."""
        kept = {}
        storages = {tensor.untyped_storage()._cdata for tensor in self.known}

        def keep(tensor):
            storage = tensor.untyped_storage()
            if storage._cdata not in storages:
                kept[storage._cdata] = storage
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = self.forward()
        del output
        return sum(storage.nbytes() for storage in kept.values())

    def most_bytes(self):
        """Give the most bytes alive in backward, the incoming gradient among them."""
        with LiveTensors(self.known) as alive:
            output = self.forward()
            gradient = torch.ones_like(output)
            alive.peak = 0
            output.backward(gradient)
        return alive.peak - output.nbytes


@pytest.mark.parametrize("kv_heads", [4, 1])
@pytest.mark.parametrize("adapters", ["none", "all", "two"])
def test_a_layer_keeps_what_is_counted(adapters, kv_heads):
    real = RealLayer(lora=ADAPTERS[adapters], kv_heads=kv_heads)
    assert real.kept_bytes() == TOKENS * layer_activations(real.shape, lora=ADAPTERS[adapters]).kept


def test_tiles_keep_their_input_alone():
    real = RealLayer(tile_tokens=256)
    assert real.kept_bytes() == TOKENS * layer_activations(real.shape, tiled=True).kept


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_a_document_mask_is_kept_as_numbers(kv_heads):
    real = RealLayer(masked=True, kv_heads=kv_heads)
    _, of_layer = mask_bytes(sequence_length=TOKENS)
    assert real.kept_bytes() == TOKENS * layer_activations(real.shape, masked=True).kept + of_layer


def test_a_compiled_layer_keeps_what_is_counted_as_fused():
    real = RealLayer(compiled=True)
    counted = TOKENS * layer_activations(real.shape, fused=True).kept
    assert real.kept_bytes() == pytest.approx(counted, rel=1e-3)  # its input is counted as well


@pytest.mark.parametrize("adapters", ADAPTERS)
def test_backward_of_a_layer_needs_what_is_counted(adapters):
    real = RealLayer(lora=ADAPTERS[adapters])
    weights = sum(weight.nbytes for weight in real.layer.parameters() if weight.requires_grad)  # their gradients
    most = TOKENS * layer_activations(real.shape, lora=ADAPTERS[adapters]).most
    assert most - weights < real.most_bytes() < 1.02 * most + weights


@pytest.mark.parametrize("tokens", [100, 2_000])
def test_the_loss_needs_what_is_counted(tokens):
    shape = shape_of_config({**SHAPE, "vocab_size": 5_000})
    head = loss.LossHead(nn.Linear(128, 5_000, bias=False, dtype=torch.bfloat16))
    hidden = torch.randn(1, tokens, 128, dtype=torch.bfloat16, requires_grad=True)
    labels = torch.randint(0, 5_000, (1, tokens))
    of_norm = tokens * 128 * (4 + 2 + 2)  # what the model keeps of its last norm, and its output
    with LiveTensors([hidden, labels, head.weight]) as alive:
        summed = head(hidden, labels).sum()
        forward, alive.peak = alive.peak, 0
        summed.backward()
    planned = loss_forward(shape, tokens=tokens, trains_head=True, on_gpu=False)
    assert forward + of_norm == pytest.approx(planned.hidden + planned.logits, rel=0.02)
    planned = loss_backward(shape, tokens=tokens, trains_head=True)
    assert alive.peak + of_norm - tokens * 128 * 2 == pytest.approx(planned.hidden + planned.logits, rel=0.02)


def test_four_bits_take_what_is_counted():
    bitsandbytes = pytest.importorskip("bitsandbytes")
    packed = as_four_bits(nn.Parameter(torch.randn(512, 1_024).bfloat16()))
    assert isinstance(packed, bitsandbytes.nn.Params4bit)
    scales = packed.quant_state
    held = packed.nbytes + scales.absmax.nbytes + scales.state2.absmax.nbytes
    assert held == 512 * 1_024 * memory_states.NF4_BYTES


def test_numbers_of_others_are_still_theirs():
    zero = DeepSpeedZeroConfig()
    assert zero.reduce_bucket_size == memory_states.BUCKET
    assert zero.max_live_parameters == memory_states.MAX_LIVE
    assert zero.sub_group_size == memory_states.SUB_GROUP
    assert memory_states.ALONE_BUCKET == engine.ALONE_BUCKET_SIZE
    buffers = {"optimizer": DeepSpeedZeroOffloadOptimizerConfig, "parameters": DeepSpeedZeroOffloadParamConfig}
    assert {name: config().buffer_count for name, config in buffers.items()} == memory_states.NVME_BUFFERS
    for name in ("CHUNK_TOKENS", "BLOCK_TOKENS", "GPU_CHUNK_TOKENS", "GPU_BLOCK_TOKENS"):
        assert getattr(memory_activations, name) == getattr(loss, name)
