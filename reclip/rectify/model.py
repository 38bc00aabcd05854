"""The bias model of rectification (Secs. 3.2 to 3.4), and its trained form that needs no CLIP.

`BiasModel` is trained and runs CLIP's text tower. `Rectifier` holds the trained result: a few
small tensors that give logits without CLIP. Both are ReCLIP, or ReCLIP++ with the parts of
`reclip.rectify.plus`.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reclip.clip.dense import interpolate_positional
from reclip.common.errors import ReclipError
from reclip.rectify.plus import Decoder, PositionalTexts
from reclip.weights.finite import not_finite

if TYPE_CHECKING:
    from reclip.clip.text import ReferenceEncoder

Combine = Literal["subtract", "add"]
FORMAT, PLUS_FORMAT = "reclip-rectifier-1", "reclip-rectifier-plus-1"


class PositionalNet(nn.Sequential):
    """Three 3x3 convolutions from positional embeddings to positional logits (Sec. 3.3).

    Maps (1, in_width, h, w) to (1, channels, h, w). Batch normalisation and ReLU follow each
    convolution. The paper gives depth and normalisation. Hidden widths, the final ReLU and a
    channel per class are the official code's.

    With one channel (the paper's Eq. 2), the positional logit is equal for all classes. It then
    cancels in the softmax over classes: masks, loss and argmax do not depend on it, and it gets no
    gradient. So every preset has a channel per class.

    final_relu: a ReLU after the last normalisation. init_scale: initial weight of the last
    normalisation; the first positional logits are about this large.
    """

    def __init__(
        self,
        in_width: int,
        channels: int,
        hidden: Sequence[int] = (512, 256),
        final_relu: bool = True,
        init_scale: float = 1.0,
    ) -> None:
        widths = (in_width, *hidden, channels)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*(layers if final_relu else layers[:-1]))
        nn.init.constant_(layers[-2].weight, init_scale)
        self.settings = {
            "in_width": in_width,
            "channels": channels,
            "hidden": list(hidden),
            "final_relu": final_relu,
        }


def rectified_logits(
    z: Tensor, w_query: Tensor, w_reference: Tensor | None, m_p: Tensor | None, combine: Combine
) -> Tensor:
    """Return M = M_q − (M_r + M_p) (Eqs. 2 and 3), or + for "add" (Table 5), (B, h, w, C).

    z: features (B, h, w, D).
    """
    sign = -1.0 if combine == "subtract" else 1.0
    head = w_query if w_reference is None else w_query + sign * w_reference  # M_q ∓ M_r at once
    m = z @ head.T
    return m if m_p is None else m + sign * m_p


class _Logits(nn.Module):
    """Query logits and their bias, for a subclass that has the parts and returns the heads.

    The parts are `positional` and `decoder`. Either is None if it is absent; ReCLIP has no decoder.
    """

    def positional_logits(self, grid: Sequence[int]) -> Tensor | None:
        """Return M_p (h, w, C or 1) on a grid (h, w); None without a positional net.

        Of ReCLIP++ it is the bias B. The net sees one image. So in training mode its batch
        statistics are over the grid's cells.
        """
        if self.positional is None:
            return None
        found = self._at_places(grid)
        return found if self.decoder is None else found @ self.heads()[1].T

    def _at_places(self, grid: Sequence[int]) -> Tensor:
        """Return what the positional net gives at each place of a grid, (h, w, channels)."""
        h, w = grid
        pe = interpolate_positional(self.positional_embedding, self.native_grid, (h, w))
        return self.positional(pe.T.reshape(1, -1, h, w))[0].permute(1, 2, 0)

    def forward(self, z: Tensor) -> Tensor:
        """Return rectified logits (B, h, w, C) of unit-length features z (B, h, w, D).

        They are M, or D of ReCLIP++. The latter are no cosines: a batch norm sets their spread.
        """
        w_query, w_reference = self.heads()
        grid = z.shape[1:3]
        if self.decoder is None:
            m_p = self.positional_logits(grid)
            return rectified_logits(z, w_query, w_reference, m_p, self.combine)
        bias = self._at_places(grid) @ w_reference.T
        return self.decoder(z, rectified_logits(z, w_query, None, bias, self.combine))


class BiasModel(_Logits):
    """Query, Reference and positional logits with a learnable bias.

    Args:
        w_query: fixed Query embeddings (C, D).
        positional_embedding, native_grid: CLIP's, (1 + h0*w0, width) and (h0, w0).
        reference, positional: the learnable parts; None removes a part (Table 4).
        decoder: makes a ReCLIP++ of the model, with PositionalTexts and a Reference.
        query: encoder of a learnable, L2-normalised Query that replaces w_query (Table 3).
        reference_norm: "frobenius" divides W_r by its matrix norm (official code; rows are then
            about C^-1/2 long), "row" gives rows of unit length, "none" changes nothing.
        combine: "subtract" the bias (Eq. 3) or "add" it (Table 5).

    Raises ReclipError: the positional net has neither 1 nor C channels.
    """

    def __init__(
        self,
        w_query: Tensor,
        positional_embedding: Tensor,
        native_grid: tuple[int, int],
        *,
        reference: ReferenceEncoder | None = None,
        query: ReferenceEncoder | None = None,
        positional: PositionalNet | PositionalTexts | None = None,
        decoder: Decoder | None = None,
        reference_norm: Literal["frobenius", "row", "none"] = "frobenius",
        combine: Combine = "subtract",
    ) -> None:
        super().__init__()
        of_classes = isinstance(positional, PositionalNet)
        channels = positional.settings["channels"] if of_classes else 1
        if channels not in (1, len(w_query)):
            raise ReclipError(
                f"The positional net has {channels} channels; give it one for each of the "
                f"{len(w_query)} classes, or a single one."
            )
        self.register_buffer("w_query", w_query.detach().clone())
        self.register_buffer("positional_embedding", positional_embedding.detach().clone())
        self.native_grid = tuple(native_grid)
        self.reference = reference
        self.query = query
        self.positional = positional
        self.decoder = decoder
        self.reference_norm = reference_norm
        self.combine: Combine = combine

    def heads(self) -> tuple[Tensor, Tensor | None]:
        """Return W_q (C, D) and the normalised W_r (C, D) or None; runs the text tower."""
        w_query = self.w_query if self.query is None else F.normalize(self.query(), dim=-1)
        if self.reference is None:
            return w_query, None
        w_reference = self.reference()
        if self.reference_norm == "frobenius":
            w_reference = w_reference / torch.linalg.matrix_norm(w_reference)
        elif self.reference_norm == "row":
            w_reference = F.normalize(w_reference, dim=-1)
        return w_query, w_reference

    @torch.no_grad()
    def freeze(self) -> Rectifier:
        """Return a copy of the trained parts that needs neither CLIP nor gradients."""
        pe, grid = self.positional_embedding, self.native_grid
        return Rectifier(*self.heads(), self.positional, pe, grid, self.combine, self.decoder)


class Rectifier(_Logits):
    """A trained bias model without CLIP.

    w_query, w_reference: (C, D), the latter normalised. positional: the positional net. Its input
    is CLIP's `positional_embedding` (1 + h0*w0, width) on the `native_grid` (h0, w0). A Query alone
    is a rectifier too. With a `decoder` it is of ReCLIP++. A rectifier stays in eval mode, so batch
    normalisation uses the running statistics of training.
    """

    def __init__(
        self,
        w_query: Tensor,
        w_reference: Tensor | None = None,
        positional: PositionalNet | PositionalTexts | None = None,
        positional_embedding: Tensor | None = None,
        native_grid: tuple[int, int] = (0, 0),
        combine: Combine = "subtract",
        decoder: Decoder | None = None,
    ) -> None:
        super().__init__()
        pe = None if positional is None else positional_embedding
        tensors = {"w_query": w_query, "w_reference": w_reference, "positional_embedding": pe}
        for name, tensor in tensors.items():
            self.register_buffer(name, None if tensor is None else tensor.detach().clone())
        self.positional = copy.deepcopy(positional)
        self.decoder = copy.deepcopy(decoder)
        self.native_grid = tuple(native_grid)
        self.combine: Combine = combine
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Rectifier:
        """Change nothing: a rectifier stays in eval mode."""
        return super().train(False)

    def heads(self) -> tuple[Tensor, Tensor | None]:
        return self.w_query, self.w_reference

    def save(self, path: str | Path) -> None:
        """Write one safetensors file; equal rectifiers give equal bytes."""
        from safetensors.torch import save_file

        settings = {
            "format": FORMAT,
            "native_grid": list(self.native_grid),
            "combine": self.combine,
            "positional": None if self.positional is None else self.positional.settings,
        }
        if self.decoder is not None:
            settings |= {"format": PLUS_FORMAT, "decoder": self.decoder.settings}
        tensors = {name: t.cpu().contiguous() for name, t in self.state_dict().items()}
        # One metadata key: safetensors writes several in no fixed order.
        save_file(tensors, path, metadata={"reclip": json.dumps(settings, sort_keys=True)})

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> Rectifier:
        """Return the rectifier that `save` wrote.

        Raises ReclipError: the file is missing, damaged or of another format.
        """
        from safetensors import SafetensorError, safe_open

        again = "run the rectify stage again."
        try:
            with safe_open(path, framework="pt", device=str(device)) as file:
                settings = json.loads((file.metadata() or {}).get("reclip", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError as error:
            raise ReclipError(
                f"There is no trained rectifier at {path}; run the rectify stage first."
            ) from error
        except SafetensorError as error:
            raise ReclipError(f"{path} is damaged ({error}); {again}") from error
        if settings.get("format") not in (FORMAT, PLUS_FORMAT):
            raise ReclipError(f"{path} is no rectifier of this version; {again}")
        if trouble := not_finite(tensors):
            raise ReclipError(f"{path} holds {trouble}; {again}")
        net, decoder = settings["positional"], settings.get("decoder")
        kind = PositionalNet if decoder is None else PositionalTexts
        rectifier = cls(
            tensors["w_query"],
            tensors.get("w_reference"),
            None if net is None else kind(**net),
            tensors.get("positional_embedding"),
            settings["native_grid"],
            settings["combine"],
            None if decoder is None else Decoder(**decoder),
        )
        rectifier.load_state_dict(tensors)
        return rectifier.to(device)
