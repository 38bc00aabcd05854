"""Every batch norm's gradients in a real step, compared with the formula in float64."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

ARGUMENTS = inspect.signature(F.batch_norm)


class _Record(TorchFunctionMode):
    """Keeps the input, the output's gradient and the input's gradient of each batch norm.

    Clones are kept. Hooks that return nothing leave a gradient's memory layout as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is F.batch_norm and out.requires_grad:
            given = ARGUMENTS.bind(*args, **(kwargs or {})).arguments
            assert given["training"]
            call = {name: given[name] for name in ("weight", "bias", "eps")}
            x = given["input"]
            call["x"] = x.detach().clone()
            out.register_hook(lambda grad: call.update(out=grad.clone()))
            if x.requires_grad:
                x.register_hook(lambda grad: call.update(input=grad.clone()))
            self.calls.append(call)
        return out


def worst_error(step: Callable[[], Tensor]) -> tuple[int, float]:
    """Return the number of batch norms in a step, and their largest relative error of a gradient.

    step: returns a loss. Each batch norm must be used once.
    """
    record = _Record()
    with record:
        step().backward()
    return len(record.calls), max(error for call in record.calls for error in _errors(call))


def _errors(call: dict[str, Any]) -> list[float]:
    x, of_out, weight = (call[name].detach().double() for name in ("x", "out", "weight"))
    axes, cells = (0, 2, 3), x.numel() // x.shape[1]
    deviation = (x.var(axes, correction=0, keepdim=True) + call["eps"]).sqrt()
    unit = (x - x.mean(axes, keepdim=True)) / deviation
    of_bias, of_weight = of_out.sum(axes), (of_out * unit).sum(axes)

    def column(values: Tensor) -> Tensor:
        return values.view(1, -1, 1, 1)

    factor = column(weight) / deviation
    of_input = factor * (of_out - (column(of_bias) + unit * column(of_weight)) / cells)
    return [
        _error(call["weight"].grad, of_weight, (of_out * unit).abs().sum(axes)),
        _error(call["bias"].grad, of_bias, of_out.abs().sum(axes)),
        *([_error(call["input"], of_input, factor * of_out)] if "input" in call else []),
    ]


def _error(found: Tensor, true: Tensor, terms: Tensor) -> float:
    """Return the relative error; of a sum that is far smaller than its terms, relative to these."""
    return float((found - true).norm() / true.norm().maximum(1e-2 * terms.norm()))
