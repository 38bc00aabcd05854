"""`reclip.Segmenter`: a trained model as a function from a photo to its segmentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from reclip.common.errors import ReclipError
from reclip.data.images import read_image, reading, rgb_pixels
from reclip.inference.model_info import WEIGHTS, ModelInfo, read_folder
from reclip.inference.segmentation import Prediction, Segmentation

Photo = str | Path | Image.Image | np.ndarray


class Segmenter:
    """A model that gives every pixel of a photo a class.

        model = reclip.Segmenter.load("results/mini/runs/voc-distill/model")
        found = model("photo.jpg")
        found.mask, found.area(), found.overlay().save("overlay.png")

    Attributes:
        info: what the model is (`reclip.inference.model_info.ModelInfo`).
    """

    def __init__(self, info: ModelInfo, predict: Callable[[np.ndarray], Prediction]) -> None:
        self.info = info
        self._predict = predict
        self._palette = np.array(info.palette, np.uint8)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto", clip: str | None = None) -> Segmenter:
        """Load a folder that `reclip package` wrote, or an .onnx file of `reclip export`.

        Args:
            device: "auto", "cpu" or "cuda"; an .onnx file is computed on the CPU, without torch.
            clip: for a rectified CLIP, the file of its CLIP's weights where it lies elsewhere now.

        Raises ReclipError: there is nothing, something else, or something damaged at `path`; the
        device or the CLIP is not there.
        """
        path = Path(path).expanduser()
        if path.suffix.lower() == ".onnx":
            from reclip.inference.onnx_backend import load_onnx

            return cls(*load_onnx(path))
        info = read_folder(path)
        from reclip.inference.torch_backend import load_model

        return cls(info, load_model(info, path / WEIGHTS, device, clip))

    @property
    def class_names(self) -> tuple[str, ...]:
        """A class's place is its number in a mask."""
        return self.info.class_names

    def __call__(self, image: Photo) -> Segmentation:
        """Segment a photo: a file, a PIL image, or RGB uint8 (H, W, 3).

        Files and PIL images are turned upright by their EXIF orientation; grey, CMYK, 16-bit and
        transparent ones are converted. The same photo and model give the mask that the pipeline's
        evaluation gives; beyond 2 megapixels as read (more for CLIP) the photo is read in tiles,
        so that memory is bounded.

        Raises ReclipError: no such file, not readable as an image, or an array of another kind.
        """
        photo = as_pixels(image)
        found = self._predict(photo)
        return Segmentation(photo, found.mask, self.class_names, self._palette, found.probabilities)

    def __repr__(self) -> str:
        names = ", ".join(self.class_names[:3]) + (", ..." if len(self.class_names) > 3 else "")
        return f"<Segmenter {self.info.run} ({self.info.kind}): {names}>"


def as_pixels(image: Photo) -> np.ndarray:
    """RGB uint8 (H, W, 3), upright. Raises ReclipError as `Segmenter.__call__` does."""
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, Image.Image):
        with reading(getattr(image, "filename", "") or "the image"):
            return rgb_pixels(ImageOps.exif_transpose(image))
    if not isinstance(image, np.ndarray):
        raise ReclipError(
            f"a {type(image).__name__} is no photo: give a path, a PIL image or a uint8 array "
            f"(H, W, 3)"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ReclipError(
            f"an array of {image.dtype} {image.shape} is no photo: give RGB uint8 (H, W, 3)"
        )
    return np.ascontiguousarray(image)
