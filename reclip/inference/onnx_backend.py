"""A student in an .onnx file, computed by ONNX Runtime: nothing here imports torch.

Of the graph: input "image" uint8 (B, H, W, 3), RGB as read, any H and W; output "logits" float32
(B, C, ceil(H/s), ceil(W/s)) with s the stride. Normalisation and padding are in the graph. Cell
(i, j) is of the pixels from (s·i, s·j): resize bilinearly by s, cut to (H, W), take the best class.
The metadata's "reclip" is the model's `ModelInfo`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from reclip.common.errors import ReclipError
from reclip.data.reading import read_in_windows
from reclip.inference.model_info import ModelInfo
from reclip.inference.numpy_upsample import GridLogits, class_map, probabilities
from reclip.inference.segmentation import Prediction
from reclip.inference.tiles import bounded, without_margins

IMAGE, LOGITS, DESCRIPTION = "image", "logits", "reclip"
"""Names of the input, the output and of the metadata that describes the model."""


def load_onnx(path: Path) -> tuple[ModelInfo, Callable[[np.ndarray], Prediction]]:
    """What the model is, and from a photo uint8 (H, W, 3) to what it says of it.

    Raises ReclipError: no ONNX Runtime, no such file, a damaged one, or one that is not from
    `reclip export`.
    """
    session = open_session(path)
    described = session.get_modelmeta().custom_metadata_map.get(DESCRIPTION)
    if described is None:
        raise ReclipError(
            f"'{path}' is not from reclip: write one with `reclip export --onnx FILE`, or use it "
            f"with ONNX Runtime itself"
        )
    info = ModelInfo.parse(described, path)

    def predict(photo: np.ndarray) -> Prediction:
        logits = grid_logits(session, info, photo)
        return Prediction(class_map(logits), lambda: probabilities(logits, info.logit_scale))

    return info, predict


def open_session(path: Path):
    """An ONNX Runtime session on the CPU. Raises ReclipError as `load_onnx` does."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ReclipError(
            "an .onnx file needs ONNX Runtime: pip install 'reclip[onnx]', or name the model's "
            "folder instead"
        ) from error
    if not path.is_file():
        raise ReclipError(f"no file '{path}': write it with `reclip export --onnx '{path}'`")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone, which are raised anyway
    try:
        return onnxruntime.InferenceSession(
            path.as_posix(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its own types are private
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ReclipError(
            f"'{path}' cannot be read as an ONNX model ({reason}): export or copy it again"
        ) from error


def grid_logits(session, info: ModelInfo, photo: np.ndarray) -> GridLogits:
    """Logits of every window of a photo uint8 (H, W, 3)."""
    image = bounded(info.image, photo.shape[:2], info.stride)
    size, cuts = read_in_windows(photo, image)
    pieces = []
    for window, pixels in cuts:
        cut = np.ascontiguousarray(pixels)
        pieces.append((window, session.run([LOGITS], {IMAGE: cut[None]})[0][0]))
    if image is not info.image:
        pieces = without_margins(pieces, size, info.stride)
    return GridLogits(pieces, info.stride, size, photo.shape[:2], image.overhang)
