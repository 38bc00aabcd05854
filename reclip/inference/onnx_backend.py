"""Run an exported student in ONNX Runtime, and upsample its logits, without importing torch.

Input "image": uint8 (B, H, W, 3), RGB, any H and W. Output "logits": float32 (B, C, ceil(H/s),
ceil(W/s)), where s is the stride. Normalisation and padding are part of the graph. Cell (i, j)
covers the pixels from (s·i, s·j). For a mask, resize the logits bilinearly by s, cut them to
(H, W) and take the best class. The metadata entry "reclip" holds the model's `ModelInfo`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.config.models import ImageSettings
from reclip.data.reading import Frame, Piece, read_in_windows
from reclip.inference.model_info import ModelInfo
from reclip.inference.uncertainty import squares_by_numpy

IMAGE, LOGITS, DESCRIPTION = "image", "logits", "reclip"  # names: input, output, metadata entry


def resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return float32 (h, w) resized bilinearly to `size` (H, W), without antialiasing.

    Equal to `torch.nn.functional.interpolate` up to rounding. The steps are float32, as in torch.
    Pillow's `resize` does not serve: it antialiases where an image is reduced. Its affine transform
    samples at the same places as torch.
    """
    (height, width), (rows, columns) = values.shape, size
    x, y = float(np.float32(width / columns)), float(np.float32(height / rows))
    image = Image.fromarray(np.ascontiguousarray(values))
    method, resample = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return np.asarray(image.transform((columns, rows), method, (x, 0, 0, 0, y, 0), resample))


def upsample(pieces: Sequence[Piece], frame: Frame, k: int) -> np.ndarray:
    """Return the logits of class `k` at every pixel of the photo, float32 (H, W).

    Logits of overlapping windows are averaged. One class at a time keeps memory bounded.
    """
    full = np.zeros(frame.read, np.float32)
    count = np.zeros(frame.read, np.uint16)
    for (top, left, height, width), logits in pieces:
        place = (slice(top, top + height), slice(left, left + width))
        padded = tuple(side * frame.cell for side in logits[k].shape)
        size = padded if frame.overhang == "cut" else (height, width)
        full[place] += resize(logits[k], size)[:height, :width]
        count[place] += 1
    full /= count
    return full if tuple(frame.read) == tuple(frame.size) else resize(full, frame.size)


def class_map(pieces: Sequence[Piece], frame: Frame) -> np.ndarray:
    """Return the best class of every pixel, uint8 (H, W); the first of equal classes."""
    mask = np.zeros(frame.size, np.uint8)
    best = upsample(pieces, frame, 0)
    for k in range(1, len(pieces[0].logits)):
        values = upsample(pieces, frame, k)
        np.copyto(mask, k, where=values > best)
        best = np.maximum(best, values)
    return mask


def probabilities(pieces: Sequence[Piece], frame: Frame, scale: float) -> np.ndarray:
    """Return the softmax over the classes of `scale` times the logits, float32 (C, H, W)."""
    found = np.empty((len(pieces[0].logits), *frame.size), np.float32)
    for k, values in enumerate(found):
        values[:] = scale * upsample(pieces, frame, k)
    found -= found.max(0)  # in place: it may be gigabytes
    np.exp(found, out=found)
    found /= found.sum(0)
    return found


class OnnxStudent:
    """A `reclip.inference.segmenter.Backend` on the CPU.

    Raises ReclipError: ONNX Runtime is not installed; the file is missing, damaged, or not written
    by `reclip export`.
    """

    class_map = staticmethod(class_map)
    probabilities = staticmethod(probabilities)
    squares = staticmethod(squares_by_numpy)

    def __init__(self, path: Path) -> None:
        self.session = open_session(path)
        described = self.session.get_modelmeta().custom_metadata_map.get(DESCRIPTION)
        if described is None:
            raise ReclipError(
                f"'{path}' was not written by reclip: write a file with `reclip export --onnx "
                f"FILE`, or run this one in ONNX Runtime itself"
            )
        self.info = ModelInfo.parse(described, path)
        self.cell = self.info.stride

    def logits(self, photo: np.ndarray, image: ImageSettings) -> tuple[list[Piece], Frame]:
        size, cuts = read_in_windows(photo, image)
        pieces = []
        for window, pixels in cuts:
            batch = np.ascontiguousarray(pixels)[None]
            logits = self.session.run([LOGITS], {IMAGE: batch})[0][0]
            pieces.append(Piece(window, logits))
        return pieces, Frame(self.cell, size, photo.shape[:2], image.overhang)


def open_session(path: Path):
    """Return an ONNX Runtime session on the CPU. Raises ReclipError as `OnnxStudent` does."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ReclipError(
            "an .onnx file needs ONNX Runtime: run `pip install 'reclip[onnx]'`, or name the "
            "model's folder instead"
        ) from error
    if not path.is_file():
        raise ReclipError(
            f"no file '{path}': write it with `reclip export --onnx {shlex.quote(str(path))}`"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only; they are raised as well
    try:
        return onnxruntime.InferenceSession(
            path.as_posix(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's own error types are private
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ReclipError(
            f"Cannot read '{path}' as an ONNX model: {reason}. Export or copy it again."
        ) from error
