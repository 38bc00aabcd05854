"""The description of a packaged model: `model.json`, which an ONNX file holds too."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.config.base import Settings
from reclip.config.models import ClipSettings, DenoisingSettings, ImageSettings, Norm

FORMAT = "reclip-model-1"
CARD, INFO, WEIGHTS = "README.md", "model.json", "model.safetensors"


class ClipWeights(Settings):
    """The CLIP that a model rectifies: its settings, and its file's sha256 (None: not known)."""

    settings: ClipSettings
    sha256: str | None


class ModelInfo(Settings):
    """Everything that is needed to use a model's weights.

    Attributes:
        kind: a student needs no other weights; a rectified CLIP needs the CLIP that `clip` names.
        classes: names of each class, the first is shown; the index of a class is its number.
        palette: RGB of each class.
        image: how a photo is read: its size, and whether whole or in windows.
        norm, mean, std: the model gets (RGB - mean) / std, with RGB from 0 to 255.
        stride: side of a cell of a student's logits in pixels; None for a rectified CLIP.
        logit_scale: factor on the logits before a softmax, as in training; of ReCLIP++ the
            official code's at inference.
        denoising: prompt denoising of a rectified CLIP. No packaged model applies PAMR.
        sources: what the model was made from, and its licences, a sentence each.
        run, experiment, seed: of the training.
        sha256: of the weights' file.
        digest: of the training's settings, code and inputs.
    """

    format: Literal["reclip-model-1"]
    kind: Literal["student", "rectified-clip"]
    classes: tuple[tuple[str, ...], ...] = Field(min_length=1, max_length=255)
    palette: tuple[tuple[int, int, int], ...]
    image: ImageSettings
    norm: Norm
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stride: int | None
    logit_scale: float
    denoising: DenoisingSettings
    clip: ClipWeights | None
    sources: tuple[str, ...]
    run: str
    experiment: str
    seed: int
    sha256: str
    digest: str

    @field_validator("palette")
    @classmethod
    def _one_colour_a_class(cls, palette: tuple, info: ValidationInfo) -> tuple:
        if len(palette) != len(info.data.get("classes", palette)):
            raise ValueError("the number of colours differs from the number of classes")
        return palette

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(names[0] for names in self.classes)

    @property
    def reading(self) -> str:
        """How a photo is read, in words for people."""
        image, words = self.image, "at its own size"
        if image.short_side is not None:
            words = f"with its short side resized bilinearly to {image.short_side} pixels"
            words += f" (its long side to at most {image.long_side})"
        if image.protocol == "slide":
            words += f", in windows of {image.window} every {image.stride} pixels, logits averaged"
        return words

    @classmethod
    def parse(cls, text: str | bytes, where: str | Path) -> ModelInfo:
        """Return the description from JSON. where: its file, for the errors.

        Raises ReclipError: the text does not describe a model, or is of another version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            at = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
            if not at:
                raise ReclipError(
                    f"'{where}' does not describe a model of reclip: name a folder written by "
                    f"`reclip package`, or a file written by `reclip export`"
                ) from error
            what = f"its format is not {FORMAT}" if at == "format" else f"its '{at}' is not valid"
            raise ReclipError(
                f"'{where}' is of another version of reclip, or was edited ({what}): package or "
                f"export the model again"
            ) from error


def read_folder(folder: Path) -> ModelInfo:
    """Return the description of a packaged model; the checksum of its weights is verified.

    Raises ReclipError: the folder is missing, holds no packaged model, or was changed since.
    """
    info, weights = folder / INFO, folder / WEIGHTS
    if not info.is_file() or not weights.is_file():
        problem = "has no" if folder.is_dir() else "is not a folder with"
        raise ReclipError(
            f"'{folder}' {problem} {INFO} and {WEIGHTS}: name a folder written by `reclip "
            f"package`, such as results/mini/runs/voc-distill/model, or an .onnx file"
        )
    found = ModelInfo.parse(info.read_bytes(), info)
    if file_sha256(weights) != found.sha256:
        raise ReclipError(
            f"'{weights}' is damaged, or not the file that {INFO} describes: copy the folder "
            f"again, or package the model again"
        )
    return found
