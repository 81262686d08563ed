"""Count the bytes of all tensors that are alive, as PyTorch makes and drops them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Within it, `peak` is the most bytes that tensors made within it held at once."""

    def __init__(self, not_counted: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._known = {tensor.untyped_storage()._cdata for tensor in not_counted}
        self._alive: dict[int, int] = {}
        self.peak = 0

    @property
    def bytes(self) -> int:
        """The bytes alive now."""
        return sum(self._alive.values())

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self._known:
                self._add(tensor.untyped_storage())
        self.peak = max(self.peak, self.bytes)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._alive:
            weakref.finalize(storage, self._alive.pop, storage._cdata, None)
        self._alive[storage._cdata] = storage.nbytes()
