"""What is known of an experiment before it is run, and the sums that several stages share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from reclip.clip.shape import clip_shape
from reclip.config.models import OptimiserSettings, ViewSettings
from reclip.cost import flops
from reclip.cost.census import Census, take_census
from reclip.cost.student import StudentShape, student_shape
from reclip.cost.work import Work
from reclip.data.reading import Window, whole_size, windows
from reclip.pipeline.plan import Plan

# Of a label map: VOC's and ADE's masks have 0.017 to 0.018 bytes a pixel beside the palette.
PNG_BYTES, PNG_BYTES_A_PIXEL = 900, 0.02


class Photos(NamedTuple):
    """Photos of one size: how many, (H, W), the size at which they are read, their windows."""

    number: int
    size: tuple[int, int]
    read: tuple[int, int]
    windows: list[Window]


class Known:
    """A plan, the shape of its CLIP and the census of each of its datasets.

    Args:
        use_index: count the photos of datasets that are prepared already.
    """

    def __init__(self, plan: Plan, use_index: bool = True) -> None:
        self.plan = plan
        self.clip = clip_shape(plan.experiment.clip.model)
        bytes_of = {"float16": 2, "float32": 4}
        self.token = self.clip.dim * bytes_of[plan.experiment.clip.cache_dtype]
        self.census: dict[str, Census] = {
            dataset: take_census(plan, dataset, use_index) for dataset in plan.params.datasets
        }

    def dataset(self, run: str) -> str:
        return self.plan.params.runs[run].dataset

    def photos(self, dataset: str, split: str) -> Iterator[Photos]:
        settings = self.plan.experiment.section(dataset, "image")
        for size, number in self.census[dataset].sizes[split].items():
            read = whole_size(*size, settings)
            yield Photos(number, size, read, windows(read, settings))

    def views(self, dataset: str) -> ViewSettings:
        return self.plan.experiment.section(dataset, "views")

    def cells(self, height: int, width: int) -> int:
        """Patches of an image in pixels."""
        return math.prod(flops.grid(height, width, self.clip.patch))

    def view_cells(self, dataset: str) -> int:
        crop = self.views(dataset).crop
        return self.cells(crop, crop)

    def view_pixels(self, dataset: str) -> float:
        """Pixels, in millions, of a photo resized for a view, which is cut out of it: the mean."""
        low, high = self.views(dataset).scale
        mean_square = (low * low + low * high + high * high) / 3
        pixels = sum(p.number * math.prod(p.read) for p in self.photos(dataset, "train"))
        return mean_square * pixels / self.census[dataset].photos("train") / 1e6

    def steps(self, dataset: str, settings: OptimiserSettings) -> tuple[int, int]:
        """(steps, images) of a training; the short last batch of an epoch is a step too."""
        photos = self.census[dataset].photos("train")
        return settings.epochs * math.ceil(photos / settings.batch), settings.epochs * photos

    def student(self, run: str) -> StudentShape:
        """The student of a run of method distill."""
        settings = self.plan.experiment.distill(run)
        crop = self.views(self.dataset(run)).crop
        return student_shape(settings.backbone, settings.backbone_args, self.clip.dim, crop)

    def positional(self, run: str, cells: int, train: bool = False) -> float:
        """FLOPs of the positional net of a run of method rectify on a grid; 0 if it has none."""
        settings = self.plan.experiment.rectify(run)
        if not settings.positional:
            return 0.0
        channels = self.positional_channels(run)
        width, hidden = self.clip.image.width, settings.positional_hidden
        return flops.positional_net(width, hidden, channels, cells, train)

    def positional_channels(self, run: str) -> int:
        own = self.plan.experiment.rectify(run).positional_channels == "class"
        return self.census[self.dataset(run)].classes if own else 1


def label_map(pixels: float) -> Work:
    """Writing a label map as a palette PNG."""
    return Work(megapixels=pixels / 1e6, written=PNG_BYTES + PNG_BYTES_A_PIXEL * pixels)
