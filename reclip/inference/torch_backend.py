"""Run a packaged student or rectified CLIP in PyTorch, as the pipeline's evaluation does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from reclip.clip.extract import Extractor
from reclip.clip.feature_cache import unit_features
from reclip.clip.load import load_clip, weights_file
from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.config.models import ImageSettings, PrecisionSetting
from reclip.data.reading import Frame, Piece, read_in_windows
from reclip.data.views import normalise
from reclip.device import deterministic, pick_device
from reclip.device.precision import Precision, resolve
from reclip.distill.deeplab import Student
from reclip.distill.predict import student_logits
from reclip.inference.model_info import INFO, ModelInfo
from reclip.inference.uncertainty import Square, logits_in_squares, most_entropy
from reclip.rectify.class_map import class_map
from reclip.rectify.model import Rectifier
from reclip.rectify.predict import rectified_logits
from reclip.rectify.upsample import upsample


class TorchBackend:
    """A `reclip.inference.segmenter.Backend` without `logits`, which depend on the model."""

    @torch.inference_mode()
    def class_map(self, pieces: Sequence[Piece], frame: Frame) -> np.ndarray:
        return class_map(pieces, frame).cpu().numpy().astype(np.uint8)

    @torch.inference_mode()
    def probabilities(self, pieces: Sequence[Piece], frame: Frame, scale: float) -> np.ndarray:
        values = upsample(pieces, frame).mul_(scale)
        values.sub_(values.amax(0)).exp_().div_(values.sum(0))  # in place: may be gigabytes
        return values.cpu().numpy()

    @torch.inference_mode()
    def squares(self, pieces: Sequence[Piece], frame: Frame, scale: float) -> Iterator[Square]:
        device = pieces[0].logits.device

        def array(weights: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(weights)).to(device)

        for place, values in logits_in_squares(pieces, frame, array):
            values.mul_(scale).sub_(values.amax(0))
            likely = values.exp()
            confidence = 1 / likely.sum(0)
            entropy = -confidence.log() - confidence * values.mul_(likely).sum(0)
            entropy /= most_entropy(len(likely))
            sums = likely.flatten(1) @ confidence.flatten()
            yield Square(place, *(found.cpu().numpy() for found in (confidence, entropy, sums)))


class TorchStudent(TorchBackend):
    """A student, which needs no other weights."""

    def __init__(
        self, info: ModelInfo, weights: Path, device: torch.device, precision: Precision
    ) -> None:
        self.info, self.cell, self.device = info, info.stride, device
        self.student = Student.load(weights).to(device)
        self.student.deeplab.precision = precision
        self.classes = self.student.head.config["classes"]

    @torch.inference_mode()
    def logits(self, photo: np.ndarray, image: ImageSettings) -> tuple[list[Piece], Frame]:
        return student_logits(self.student, photo, image, self.info.norm, self.device)


class TorchRectifiedClip(TorchBackend):
    """A rectifier with the CLIP that it rectifies.

    checkpoint: file of CLIP's weights; None: the file that the model's settings name.
    """

    def __init__(
        self,
        info: ModelInfo,
        weights: Path,
        device: torch.device,
        precision: Precision,
        checkpoint: str | None,
    ) -> None:
        changes = {} if checkpoint is None else {"checkpoint": checkpoint}
        settings = info.clip.settings.model_copy(update=changes)
        self.info = info
        self.model = Rectifier.load(weights, device)
        self.classes = len(self.model.w_query)
        loaded = load_clip(settings, device).compute_in(precision)
        self.extractor = Extractor(loaded, settings, loaders=0)
        self.cell = self.extractor.patch
        file, wanted = weights_file(settings), info.clip.sha256
        if wanted and (sha256 := file_sha256(file)) != wanted:
            raise ReclipError(
                f"'{file}' (sha256 {sha256[:12]}...) is not the CLIP that this model rectifies "
                f"({settings.model}, sha256 {wanted[:12]}...): name the right file with --clip"
            )

    @torch.inference_mode()
    def logits(self, photo: np.ndarray, image: ImageSettings) -> tuple[list[Piece], Frame]:
        size, cuts = read_in_windows(photo, image)
        features = []
        for window, pixels in cuts:
            tokens, _ = self.extractor([normalise(pixels, self.extractor.norm)], ["the photo"])
            features.append((window, unit_features(tokens[0])))
        frame = Frame(self.cell, size, photo.shape[:2], image.overhang)
        return rectified_logits(self.model, features, self.info.denoising), frame


def load_model(
    info: ModelInfo,
    weights: Path,
    device: str,
    clip: str | None,
    precision: PrecisionSetting = "float32",
) -> TorchBackend:
    """Load a packaged model on a device: "auto", "cpu" or "cuda".

    Args:
        clip: file of CLIP's weights, if a rectified CLIP shall not use the file that its settings
            name.
        precision: of CLIP's image tower or the student.
    Raises ReclipError: this machine has no such device; the weights are damaged or of another
    model; the CLIP weights of a rectified CLIP are missing or have another checksum.
    """
    deterministic()
    place = pick_device(device, "device")
    if info.kind == "student":
        model = TorchStudent(info, weights, place, resolve(precision, place))
    else:
        model = TorchRectifiedClip(info, weights, place, resolve(precision, place), clip)
    if model.classes != len(info.classes):
        raise ReclipError(
            f"'{weights}' has {model.classes} classes, but {INFO} names {len(info.classes)}: "
            f"package the model again"
        )
    return model
