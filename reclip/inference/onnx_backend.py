"""Run an exported student in ONNX Runtime, without importing torch.

Input "image": uint8 (B, H, W, 3), RGB, any H and W. Output "logits": float32 (B, C, ceil(H/s),
ceil(W/s)), where s is the stride. Normalisation and padding are part of the graph. Cell (i, j)
covers the pixels from (s·i, s·j). For a mask, resize the logits bilinearly by s, cut them to
(H, W) and take the best class. The metadata entry "reclip" holds the model's `ModelInfo`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reclip.common.errors import ReclipError
from reclip.config.models import ImageSettings
from reclip.data.reading import Frame, Piece, read_in_windows
from reclip.inference.model_info import ModelInfo
from reclip.inference.numpy_upsample import class_map, probabilities

IMAGE, LOGITS, DESCRIPTION = "image", "logits", "reclip"
"""Names of the input, the output, and the metadata entry that describes the model."""


class OnnxStudent:
    """A `reclip.inference.segmenter.Backend` on the CPU.

    Raises ReclipError: ONNX Runtime is not installed; the file is missing, damaged, or not written
    by `reclip export`.
    """

    class_map = staticmethod(class_map)
    probabilities = staticmethod(probabilities)

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
            pieces.append(Piece(window, self.session.run([LOGITS], {IMAGE: batch})[0][0]))
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
        raise ReclipError(f"no file '{path}': write it with `reclip export --onnx '{path}'`")
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
