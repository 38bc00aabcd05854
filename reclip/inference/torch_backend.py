"""A packaged student or rectified CLIP, computed by PyTorch as the pipeline's evaluation does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from reclip.clip.extract import Extractor
from reclip.clip.feature_cache import unit_features
from reclip.clip.load import load_clip, weights_file
from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.data.reading import read_in_windows
from reclip.data.views import normalise
from reclip.device import deterministic, pick_device
from reclip.distill.deeplab import Student
from reclip.distill.predict import student_logits
from reclip.inference.model_info import ClipWeights, ModelInfo
from reclip.inference.segmentation import Prediction
from reclip.inference.tiles import bounded, without_margins
from reclip.rectify.model import Rectifier
from reclip.rectify.predict import Frame, Piece, class_map, rectified_logits, upsample

Logits = Callable[[np.ndarray], tuple[list[Piece], Frame]]


def load_model(
    info: ModelInfo, weights: Path, device: str, clip_checkpoint: str | None
) -> Callable[[np.ndarray], Prediction]:
    """From a photo uint8 (H, W, 3) to what the model says of it.

    Raises ReclipError: no such device; weights that are damaged or of something else; for a
    rectified CLIP, CLIP weights that are missing or others.
    """
    deterministic()
    place = pick_device(device, "device")
    if info.kind == "student":
        logits = _by_student(info, weights, place)
    else:
        logits = _by_rectified_clip(info, weights, place, clip_checkpoint)

    def predict(photo: np.ndarray) -> Prediction:
        with torch.inference_mode():
            pieces, frame = logits(photo)
            mask = class_map(pieces, frame).cpu().numpy().astype(np.uint8)
        return Prediction(mask, lambda: _probabilities(pieces, frame, info.logit_scale))

    return predict


def _by_student(info: ModelInfo, weights: Path, device: torch.device) -> Logits:
    student = Student.load(weights).to(device)
    info.require_classes(student.head.config["classes"], weights)

    def logits(photo: np.ndarray) -> tuple[list[Piece], Frame]:
        image = bounded(info.image, photo.shape[:2], info.stride)
        pieces, frame = student_logits(student, photo, image, info.norm, device)
        return _trimmed(pieces, frame, image is not info.image), frame

    return logits


def _by_rectified_clip(
    info: ModelInfo, weights: Path, device: torch.device, checkpoint: str | None
) -> Logits:
    settings = info.clip.settings
    if checkpoint is not None:
        settings = settings.model_copy(update={"checkpoint": checkpoint})
    model = Rectifier.load(weights, device)
    info.require_classes(len(model.w_query), weights)
    clip = load_clip(settings, device)
    _require_same(info.clip, weights_file(settings))
    extractor = Extractor(clip, settings, loaders=0)

    def logits(photo: np.ndarray) -> tuple[list[Piece], Frame]:
        image = bounded(info.image, photo.shape[:2], extractor.patch)
        size, cuts = read_in_windows(photo, image)
        features = []
        for window, pixels in cuts:
            cut = normalise(pixels, extractor.norm)
            features.append((window, unit_features(extractor([cut])[0][0])))
        frame = Frame(extractor.patch, size, photo.shape[:2], image.overhang)
        pieces = rectified_logits(model, features, info.denoising)
        return _trimmed(pieces, frame, image is not info.image), frame

    return logits


def _trimmed(pieces: list[Piece], frame: Frame, in_tiles: bool) -> list[Piece]:
    if not in_tiles:
        return pieces
    return [Piece(*pair) for pair in without_margins(pieces, frame.read, frame.cell)]


def _require_same(wanted: ClipWeights, file: Path) -> None:
    sha256 = file_sha256(file)
    if wanted.sha256 and sha256 != wanted.sha256:
        raise ReclipError(
            f"'{file}' (sha256 {sha256[:12]}...) is not the CLIP that this model rectifies "
            f"({wanted.settings.model}, sha256 {wanted.sha256[:12]}...): name that file by --clip"
        )


@torch.inference_mode()
def _probabilities(pieces: list[Piece], frame: Frame, scale: float) -> np.ndarray:
    """Softmax over the classes, float32 (C, H, W); in place, for it may be gigabytes."""
    values = upsample(pieces, frame).mul_(scale)
    values.sub_(values.amax(0)).exp_().div_(values.sum(0))
    return values.cpu().numpy()
