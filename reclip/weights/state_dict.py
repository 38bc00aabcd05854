"""Read tensors by name from weights files of any common format, without running code in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from reclip.common.errors import ReclipError
from reclip.weights.finite import not_finite
from reclip.weights.torchscript import is_torchscript, read_torchscript
from reclip.weights.unwrap import weights_of


def read_state_dict(path: Path, key: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, a .pt or .pth, or a TorchScript archive.

    The content decides the format, not the name. Of a training checkpoint, only the weights are
    returned, under the names of the bare model (`reclip.weights.unwrap`). Plain numbers become
    tensors. All tensors are dense and on the CPU.

    key: the setting that names the file, for errors.
    Raises ReclipError: the file is damaged, holds no tensors or several sets of them, a tensor is
        not finite, or the file holds Python objects, which could run code.
    """
    try:
        state = _read(path)
    except Exception as error:  # each format's reader has its own
        raise ReclipError(
            f"params: '{key}': '{path}' {_trouble(path, error)}: get the file again, or name a "
            f"safetensors file or a state dict saved by PyTorch"
        ) from error
    try:
        weights = weights_of(state, f"'{path}'")
    except ValueError as error:
        raise ReclipError(
            f"params: '{key}': '{path}' {error}: save the one to use in a file of its own"
        ) from error
    tensors = {name: _plain(value) for name, value in weights.items()}
    if not tensors:
        raise ReclipError(f"params: '{key}': '{path}' holds no tensors: name a weights file")
    if trouble := not_finite(tensors):
        raise ReclipError(
            f"params: '{key}': '{path}' holds {trouble}: get the file again, or another one: its "
            f"training may have diverged, or its conversion to float16 overflowed"
        )
    return tensors


def misfit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """Return in words the first tensor that is missing, surplus, or of another shape or kind.

    None if all fit. Whole numbers do not fit weights: they are quantised, and their scales are
    elsewhere. A batch normalisation's `num_batches_tracked` may be missing: it is no weight,
    and files older than PyTorch 0.4.1 have none.
    """

    def shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | str:
        if name not in tensors:
            return "absent"
        tensor, meant = tensors[name], wanted.get(name)
        whole = not tensor.is_floating_point() and tensor.dim() > 0
        if whole and meant is not None and meant.is_floating_point():
            return f"of {str(tensor.dtype).removeprefix('torch.')}"
        return tuple(tensor.shape)

    wrong = [
        name
        for name in sorted(wanted.keys() | state.keys())
        if shape(state, name) != shape(wanted, name)
        and (name in state or not name.endswith(".num_batches_tracked"))
    ]
    if not wrong:
        return None
    there, model = shape(state, wrong[0]), shape(wanted, wrong[0])
    return (
        f"{wrong[0]} is {there} there and {model} in the model; tensors that differ: {len(wrong)}"
    )


def _read(path: Path) -> dict[str, Any]:
    with open(path, "rb") as stream:
        head = stream.read(9)
    if _is_safetensors(head):
        return load_file(path)
    if is_torchscript(path):
        return read_torchscript(path)
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    return loaded if isinstance(loaded, dict) else {}


def _plain(value: Tensor | int | float) -> Tensor:
    """Return a dense tensor; a sparse or quantised one is converted."""
    tensor = torch.as_tensor(value)
    if tensor.is_quantized:
        return tensor.dequantize()
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def _is_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{"  # eight bytes give the header's length, and the header is JSON


def _trouble(path: Path, error: Exception) -> str:
    """Return why a file cannot be read, judged by its first bytes."""
    with open(path, "rb") as stream:
        head = stream.read(512)
    if not head:
        return "is empty"
    if head.lstrip()[:1] == b"<":
        return "is a web page, not the file to download"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file that it points to"
    binary = head[:2] in (b"PK", b"\x80\x02")  # torch.save's formats, after and before 1.6
    if binary and isinstance(error, pickle.UnpicklingError):
        return "holds Python objects besides tensors, which could run code, and is not read"
    if binary or _is_safetensors(head):
        return f"is cut short or damaged ({type(error).__name__})"
    return "is in no known format of weights"
