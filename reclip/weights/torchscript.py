"""Tensors of a TorchScript archive, such as OpenAI's, read without running the program in it.

`torch.jit.load` compiles the archive's code and may run some of it. The archive is a zip file:
`data.pkl` holds the tree of modules, and `data/<n>` hold the bytes of the tensors. So the tensors
can be read without the code.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

TYPES = ("BFloat16", "Bool", "Double", "Float", "Half", "Int", "Long")
DTYPES = {f"{name}Storage": getattr(torch, name.lower()) for name in TYPES}


def is_torchscript(path: Path) -> bool:
    """Return whether the file is a whole zip file with compiled code in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Return all tensors of the tree of modules on the CPU, named as in a state dict.

    Raises the errors of zipfile, pickle and torch if the archive is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        root = next(n for n in names if n.count("/") == 1 and n.endswith("/data.pkl"))
        return dict(_tensors(_Reader(archive, root).load()))


class _Node:
    """Stands for any class or function that the pickle names: keeps attributes, runs nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            vars(self).update(state)


class _Reader(pickle.Unpickler):
    """Unpickler of tensors and nodes; no name in the file leads to any other code."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(root)))
        self._archive, self._folder = archive, root.removesuffix("data.pkl") + "data/"

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        return DTYPES[name] if module == "torch" and name in DTYPES else _Node

    def persistent_load(self, pid: tuple) -> Tensor:
        """Return a storage as a flat tensor on the CPU, whatever device it was saved from."""
        _, dtype, key, _, _ = pid
        return torch.frombuffer(bytearray(self._archive.read(self._folder + key)), dtype=dtype)


def _rebuild(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    # Contiguous, so that a view neither keeps the whole storage nor shares it.
    return storage.as_strided(size, stride, offset).clone(memory_format=torch.contiguous_format)


def _tensors(node: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, child in vars(node).items() if isinstance(node, _Node) else ():
        if isinstance(child, Tensor):
            yield prefix + name, child
        else:
            yield from _tensors(child, f"{prefix}{name}.")
