"""A Ray cluster as a pool of workers: its nodes run the same functions on the same run folder, which all must see."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codellama_train.console import UserError

PACKAGES = ("codellama_train", "data_prep")
SOURCE_ROOT = Path(__file__).resolve().parent.parent


class RayPool:
    """The processors of a running Ray cluster. Our source travels with the work, so every node runs this version."""

    def __init__(self, address: str) -> None:
        self._ray = _connected(address)
        self.workers = max(int(self._ray.cluster_resources().get("CPU", 1)), 1)
        self._call = self._ray.remote(num_cpus=1)(_call)

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the connection open: the next stage uses it."""

    def submit(self, function: Callable[[Any], Any], task: Any) -> Any:
        """Start `function(task)` on some node; Ray starts it again elsewhere when the node dies."""
        return self._call.remote(function, task)

    def result(self, handle: Any) -> Any:
        """Wait for a result."""
        return self._ray.get(handle)


def _call(function: Callable[[Any], Any], task: Any) -> Any:
    return function(task)


def _connected(address: str) -> Any:
    """Connect to the cluster, or say why that cannot be."""
    try:
        import ray
    except ImportError as error:
        raise UserError(
            f"machine.cluster={address!r} needs Ray: pip install -e '.[cluster]', or leave the key out"
        ) from error
    if not ray.is_initialized():
        modules = [str(SOURCE_ROOT / name) for name in PACKAGES]
        try:
            ray.init(
                address=address, runtime_env={"py_modules": modules}, log_to_driver=False, logging_level=logging.WARNING
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"machine.cluster={address!r}: no Ray cluster answers ({reason}); start one with `ray start --head`, "
                f"give its address, set RAY_AUTH_MODE as it has it, or leave the key out"
            ) from error
    return ray
