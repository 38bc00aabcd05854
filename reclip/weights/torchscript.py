"""Tensors of a TorchScript archive, such as OpenAI's, without running the program in it.

`torch.jit.load` compiles the archive's code and may run some of it. The archive is a zip whose
`data.pkl` is the tree of modules and whose `data/<n>` are the tensors' bytes, so the tensors can be
had by reading alone.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

DTYPES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
}


def is_torchscript(path: Path) -> bool:
    """Whether the file is a zip with compiled code in it; a cut one is not."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Every tensor in the tree of modules, named as in a state dict, on the CPU.

    Raises what zipfile, pickle and torch raise on a damaged archive.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        root = next(n for n in names if n.count("/") == 1 and n.endswith("/data.pkl"))
        folder = root.removesuffix("data.pkl") + "data/"
        with archive.open(root) as stream:
            tree = _Reader(stream, lambda key: archive.read(folder + key)).load()
    return dict(_tensors(tree))


class _Node:
    """Stands for whatever class or function the pickle names: keeps attributes, does nothing."""

    children: dict[str, Any]

    def __new__(cls, *_: Any) -> _Node:
        node = super().__new__(cls)
        node.children = {}
        return node

    def __setstate__(self, state: Any) -> None:
        self.children = state if isinstance(state, dict) else {}


class _Reader(pickle.Unpickler):
    """Unpickles tensors and nodes; no name in the file leads to any other code."""

    def __init__(self, stream: IO[bytes], read: Callable[[str], bytes]) -> None:
        super().__init__(stream)
        self._read = read

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        return DTYPES[name] if module == "torch" and name in DTYPES else _Node

    def persistent_load(self, pid: tuple) -> Tensor:
        """A storage as a flat tensor; the device that it once was on plays no part."""
        _, dtype, key, _, _ = pid
        return torch.frombuffer(bytearray(self._read(key)), dtype=dtype)


def _rebuild(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    # Contiguous, so that a view neither keeps the whole storage nor shares it.
    return storage.as_strided(size, stride, offset).clone(memory_format=torch.contiguous_format)


def _tensors(node: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    children = node.children if isinstance(node, _Node) else {}
    for name, child in children.items():
        if isinstance(child, Tensor):
            yield prefix + name, child
        else:
            yield from _tensors(child, f"{prefix}{name}.")
