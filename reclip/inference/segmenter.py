"""`reclip.Segmenter`: load a trained model and segment photos."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.config.models import ImageSettings, PrecisionSetting
from reclip.data.images import read_image, reading
from reclip.data.reading import Frame, Piece, Window, whole_size
from reclip.data.upright import upright_pixels
from reclip.inference.model_info import WEIGHTS, ModelInfo, read_folder
from reclip.inference.segmentation import Segmentation
from reclip.inference.uncertainty import Square

log = logging.getLogger(__name__)

Photo = str | Path | Image.Image | np.ndarray
# A photo that is too large for the memory is read in overlapping tiles.
WHOLE_CELLS = 2**15  # most cells of a photo read whole: 2 megapixels at a stride of 8
TILE_CELLS, STEP_CELLS = 128, 96  # side of a tile, and step from one tile to the next
MARGIN_CELLS = 14  # at edges inside the photo the padding distorts logits: another tile covers them


class Backend(Protocol):
    """A model in one library: PyTorch (`torch_backend`) or ONNX Runtime (`onnx_backend`).

    cell: side of a cell of the logits' grid, in pixels of the image as read.
    """

    info: ModelInfo
    cell: int

    def logits(self, photo: np.ndarray, image: ImageSettings) -> tuple[list[Piece], Frame]:
        """Return the logits of every window of a photo uint8 (H, W, 3), and where they belong."""

    def class_map(self, pieces: Sequence[Piece], frame: Frame) -> np.ndarray:
        """Return the best class of every pixel, uint8 (H, W); the first of equal classes."""

    def probabilities(self, pieces: Sequence[Piece], frame: Frame, scale: float) -> np.ndarray:
        """Return the softmax over the classes of `scale` times the logits, float32 (C, H, W)."""

    def squares(self, pieces: Sequence[Piece], frame: Frame, scale: float) -> Iterator[Square]:
        """Return how sure the model is of each pixel by this softmax, one square after another."""


class Segmenter:
    """A trained model that assigns a class to every pixel of a photo.

        model = reclip.Segmenter.load("results/mini/runs/voc-distill/model")
        found = model("photo.jpg")
        found.mask, found.area(), found.overlay().save("overlay.png")

    Attributes:
        info: description of the model (`reclip.inference.model_info.ModelInfo`).
    """

    def __init__(self, backend: Backend) -> None:
        self.info = backend.info
        self._backend = backend
        self._palette = np.array(backend.info.palette, np.uint8)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: str = "auto",
        clip: str | None = None,
        precision: PrecisionSetting = "float32",
    ) -> Segmenter:
        """Load a folder written by `reclip package`, or an .onnx file written by `reclip export`.

        Args:
            device: "auto", "cpu" or "cuda". An .onnx file runs on the CPU, without torch.
            clip: for a rectified CLIP, the file of its CLIP weights, if it was moved.
            precision: "float32", "bfloat16", or "auto" for bfloat16 where the hardware has it. Only
                float32 gives the same masks on every machine. An .onnx file has only float32.

        Raises ReclipError: `path` is missing, damaged or not a model; this machine has no such
        device; the CLIP weights are missing or have another checksum; an .onnx file and bfloat16.
        """
        path = Path(path).expanduser()
        if path.suffix.lower() == ".onnx":
            from reclip.inference.onnx_backend import OnnxStudent

            if precision == "bfloat16":
                raise ReclipError(
                    f"'{path}' computes in float32 alone: drop bfloat16, or name the folder written"
                    f" by `reclip package`"
                )
            return cls(OnnxStudent(path))
        info = read_folder(path)
        from reclip.inference.torch_backend import load_model

        return cls(load_model(info, path / WEIGHTS, device, clip, precision))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class; the index of a class is its number in a mask."""
        return self.info.class_names

    def __call__(self, image: Photo) -> Segmentation:
        """Segment a photo: a file, a PIL image, or an RGB array uint8 (H, W, 3).

        Files and PIL images are rotated by their EXIF orientation. Grey, CMYK, 16-bit and
        transparent images are converted to RGB. The mask equals the mask of the pipeline's
        evaluation. A photo of more than 2 megapixels as read (more for CLIP) is read in tiles, so
        that memory is bounded.

        Raises ReclipError: the file is missing or not an image, the array has another type or
        shape, or the model's values are not finite.
        """
        photo, backend, info = as_pixels(image), self._backend, self.info
        settings = bounded(info.image, photo.shape[:2], backend.cell)
        pieces, frame = backend.logits(photo, settings)
        if not all(bool((abs(piece.logits) < math.inf).all()) for piece in pieces):
            raise ReclipError(
                f"Cannot segment a photo: run '{info.run}' gives values that are not finite. "
                f"Train, package or export it again."
            )
        if settings is not info.image:
            pieces = without_margins(pieces, frame)
        mask = backend.class_map(pieces, frame)
        softmax = (
            partial(method, pieces, frame, info.logit_scale)
            for method in (backend.probabilities, backend.squares)
        )
        return Segmentation(photo, mask, info.class_names, self._palette, *softmax)

    def __repr__(self) -> str:
        names = ", ".join(self.class_names[:3]) + (", ..." if len(self.class_names) > 3 else "")
        return f"<Segmenter {self.info.run} ({self.info.kind}): {names}>"


def as_pixels(image: Photo) -> np.ndarray:
    """Return RGB uint8 (H, W, 3), upright. Raises ReclipError as `Segmenter.__call__` does."""
    if isinstance(image, (str, Path)):
        return read_image(image, log.warning)
    if isinstance(image, Image.Image):
        name = getattr(image, "filename", "") or "the image"
        with reading(name):
            pixels, doubts = upright_pixels(image)
        for doubt in doubts:
            log.warning("'%s' %s", name, doubt)
        return pixels
    kind = type(image).__name__
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return np.ascontiguousarray(image)
        kind = f"array of {image.dtype} {image.shape}"
    raise ReclipError(
        f"Cannot segment this {kind}. Give a path, a PIL image or an RGB array uint8 (H, W, 3)."
    )


def bounded(settings: ImageSettings, size: tuple[int, int], cell: int) -> ImageSettings:
    """Return `settings`, with tiles for a photo of `size` (H, W) of more than WHOLE_CELLS cells.

    cell: side of a cell of the model's grid in pixels.
    Smaller photos and sliding windows get `settings` itself.
    """
    pixels = math.prod(whole_size(*size, settings))
    if settings.protocol == "slide" or pixels <= WHOLE_CELLS * cell**2:
        return settings
    tiles = {"protocol": "slide", "window": TILE_CELLS * cell, "stride": STEP_CELLS * cell}
    return settings.model_copy(update=tiles)


def without_margins(pieces: Iterable[Piece], frame: Frame) -> list[Piece]:
    """Return tiles without their margins, except at the photo's edges.

    The tiles still overlap. Their logits are averaged there, as those of sliding windows are.
    """
    cell, (read_height, read_width) = frame.cell, frame.read
    found = []
    for (top, left, height, width), logits in pieces:
        rows, columns = logits.shape[-2:]
        inside = (top > 0, top + height < read_height, left > 0, left + width < read_width)
        above, below, before, after = (MARGIN_CELLS * edge for edge in inside)
        window = Window(
            top + above * cell,
            left + before * cell,
            height - (above + below) * cell,
            width - (before + after) * cell,
        )
        found.append(Piece(window, logits[:, above : rows - below, before : columns - after]))
    return found
