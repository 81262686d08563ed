"""Recipes and shapes that tests of planning use."""

from __future__ import annotations

from codellama_train.planning.shape import ModelShape
from codellama_train.recipe.training import TrainingRecipe

LLAMA_7B = ModelShape(4096, 11_008, 32, 32, 32, 128, 32_016)
LLAMA_34B = ModelShape(8192, 22_016, 48, 64, 8, 128, 32_000)
ALL_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def recipe_of(*, rows=1024, length=4096, lora=None, **machine) -> TrainingRecipe:
    """Give a recipe of so many sequences per step, whose `[machine]` is as a plain one but for what is said."""
    plain = {"zero_stage": 2, "sequences_per_device": 1, "activation_checkpointing": True}
    often = {"log_every_steps": 1, "save_every_steps": 100, "keep_checkpoints": 1}
    return TrainingRecipe.model_validate(
        {
            "name": "planned",
            "model": {"init_from": "nowhere", "rope_theta": 1e4},
            "data": {
                "sequence_length": length,
                "seed": 1,
                "sources": {"code": {"shards": "nowhere", "share": 1.0}},
            },
            "batch": {"tokens_per_step": rows * length, "total_tokens": 1_000 * rows * length},
            "optimizer": {
                "peak_learning_rate": 1e-4,
                "final_learning_rate_fraction": 0.1,
                "warmup_steps": 10,
                "betas": [0.9, 0.95],
                "epsilon": 1e-8,
                "weight_decay": 0.1,
                "gradient_clipping": 1.0,
            },
            "machine": plain | often | machine,
            **({"lora": lora} if lora else {}),
        }
    )
