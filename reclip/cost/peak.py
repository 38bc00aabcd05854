"""Measure the memory of a computation on the meta device: nothing is computed or allocated."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that operators return, as long as someone holds them.

    Tensors that share their memory count once. Buffers inside an operator do not count.

    Attributes:
        now, peak: bytes that are held, and the most that were.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[int, Any] = {}  # id of a storage, while it lives
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        for value in tree_leaves(returned):
            if isinstance(value, torch.Tensor):
                self._hold(value.untyped_storage())
        return returned

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._held:
            return

        def free(_: object) -> None:
            if self._held.pop(key, None) is not None:
                self.now -= size

        self._held[key] = weakref.ref(storage, free)
        self.now += size
        self.peak = max(self.peak, self.now)


@contextmanager
def live_tensors() -> Iterator[Live]:
    """Count the tensors that are made inside.

    Inputs and weights must be on the meta device, or what is computed is really computed. Attention
    is computed in its plain form, with the weights of all pairs of tokens: some devices do so.
    In inference mode, operators would hide their parts: use `torch.no_grad`.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator, which would hide its parts
    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")  # else PyTorch resizes as no stage does
    try:
        with Live() as live, sdpa_kernel(SDPBackend.MATH):
            yield live
    finally:
        torch.set_deterministic_debug_mode(mode)
        torch.backends.mha.set_fastpath_enabled(fast_path)


def peak(run: Callable[[], object]) -> int:
    """Return the most bytes of tensors that `run()` held at once, of those that it made."""
    with live_tensors() as live:
        run()
    return live.peak
