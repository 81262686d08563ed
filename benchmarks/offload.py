"""The update of an offloaded optimizer: torch's fused AdamW, which training uses, beside DeepSpeed's own."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from corpus import describe_machine
from rounds import in_turn, median_rate
from torch.optim import AdamW, Optimizer

from codellama_train.console import print_table, run_program

SETTINGS = {"lr": 3e-4, "betas": (0.9, 0.95), "eps": 1e-5, "weight_decay": 0.1}


def main(arguments: Sequence[str]) -> None:
    """Measure updates of equal weights by equal gradients, in turn, after making sure that they come out equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parameters", type=int, default=50_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    print(f"{describe_machine()}, {torch.get_num_threads()} threads")
    started = time.perf_counter()
    from deepspeed.ops.adam import DeepSpeedCPUAdam

    optimizers = {
        "DeepSpeedCPUAdam": DeepSpeedCPUAdam([weights(options.parameters)], adamw_mode=True, **SETTINGS),
        "torch AdamW, fused": AdamW([weights(options.parameters)], fused=True, **SETTINGS),
    }
    print(f"DeepSpeedCPUAdam was there after {time.perf_counter() - started:,.0f} s, compiled if for the first time")
    measured = in_turn({name: updating(optimizer) for name, optimizer in optimizers.items()}, rounds=options.rounds)
    theirs, ours = (optimizer.param_groups[0]["params"][0] for optimizer in optimizers.values())
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    rates = {
        name: [median_rate(rounds, lambda _: options.parameters, by_clock=clock) for clock in (False, True)]
        for name, rounds in measured.items()
    }
    peer = rates["DeepSpeedCPUAdam"]
    print_table(
        f"updates of {options.parameters:,} weights, median of {options.rounds} rounds, weights per second",
        ("optimizer", "of processor time", "to DeepSpeed's", "by the clock", "to DeepSpeed's "),
        [
            (name, round(cpu), f"{cpu / peer[0]:.2f}", round(clock), f"{clock / peer[1]:.2f}")
            for name, (cpu, clock) in rates.items()
        ],
    )


def weights(number: int) -> torch.nn.Parameter:
    """Make the weights that every optimizer starts from, with their gradient."""
    generator = torch.Generator().manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(number, generator=generator))
    parameter.grad = torch.randn(number, generator=generator)
    return parameter


def updating(optimizer: Optimizer) -> Callable[[], None]:
    """Give a round: one update."""

    def update() -> None:
        optimizer.step()

    return update


if __name__ == "__main__":
    run_program(main)
