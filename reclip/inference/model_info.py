"""What a packaged model is, beside its weights: `model.json`, also kept inside an ONNX file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.config.base import Settings
from reclip.config.models import ClipSettings, DenoisingSettings, ImageSettings

FORMAT = "reclip-model-1"
CARD, INFO, WEIGHTS = "README.md", "model.json", "model.safetensors"

Triple = tuple[float, float, float]


class ClipWeights(Settings):
    """Which CLIP a rectified one is: its settings, and sha256 of its file where that is known."""

    settings: ClipSettings
    sha256: str | None


class ModelInfo(Settings):
    """All that must be known to use a model's weights.

    Attributes:
        kind: a student stands alone; a rectified CLIP needs the CLIP that `clip` names.
        classes: the names of each class, the first is shown; a class's place is its number.
        palette: RGB of each class.
        image: how a photo is read: its size, and whether whole or in windows.
        norm, mean, std: of RGB values 0 to 255; (value - mean) / std enters the model.
        stride: pixels a cell of a student's logits; a rectified CLIP's is CLIP's patch.
        logit_scale: what logits are multiplied by before a softmax, as in training.
        denoising: classes left out of a photo by how sure CLIP is of them.
        sources: what it was made from and under which licence, a sentence each.
        run, experiment: its name there. seed: of the training.
        sha256: of the weights' file.
        digest: of the training's settings, code and inputs.
    """

    format: Literal["reclip-model-1"]
    kind: Literal["student", "rectified-clip"]
    classes: tuple[tuple[str, ...], ...] = Field(min_length=1, max_length=255)
    palette: tuple[tuple[int, int, int], ...]
    image: ImageSettings
    norm: Literal["clip", "imagenet"]
    mean: Triple
    std: Triple
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
    def _a_colour_a_class(cls, palette: tuple, info: ValidationInfo) -> tuple:
        if len(palette) != len(info.data.get("classes", palette)):
            raise ValueError("it has not one colour for each class")
        return palette

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(names[0] for names in self.classes)

    def require_classes(self, number: int, weights: Path) -> None:
        """Raises ReclipError: the weights are of another number of classes."""
        if number != len(self.classes):
            raise ReclipError(
                f"'{weights}' tells {number} classes apart and {INFO} names {len(self.classes)}: "
                f"package the model again"
            )

    @classmethod
    def parse(cls, text: str, where: str | Path) -> ModelInfo:
        """Read what `model_dump_json` wrote.

        Raises ReclipError: it is something else, or of another version.
        """
        try:
            found = json.loads(text)
            wanted = found.get("format") == FORMAT
        except (ValueError, AttributeError) as error:
            raise ReclipError(
                f"'{where}' describes no model of reclip: name a folder that `reclip package` "
                f"wrote, or a file of `reclip export`"
            ) from error
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            at = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
            what = f"its '{at}' is not known here" if wanted else f"its format is not {FORMAT}"
            raise ReclipError(
                f"'{where}' is of another version of reclip, or altered ({what}): package or "
                f"export the model again"
            ) from error


def read_folder(folder: Path) -> ModelInfo:
    """The description of a packaged model, whose weights are whole.

    Raises ReclipError: there is no such folder, it holds no packaged model, or one that was
    altered since.
    """
    info, weights = folder / INFO, folder / WEIGHTS
    if not info.is_file() or not weights.is_file():
        there = "has no" if folder.is_dir() else "is no folder with"
        raise ReclipError(
            f"'{folder}' {there} {INFO} and {WEIGHTS}: name a folder that `reclip package` wrote, "
            f"such as results/mini/runs/voc-distill/model, or an .onnx file"
        )
    try:
        text = info.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = ""
    found = ModelInfo.parse(text, info)
    if file_sha256(weights) != found.sha256:
        raise ReclipError(
            f"'{weights}' is damaged or not the file that {INFO} describes: copy the folder again, "
            f"or package the model again"
        )
    return found
