"""What the costs of an experiment depend on: its plan, its CLIP and the photos of its datasets."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from reclip.config.models import OptimiserSettings, RefinementSettings, ViewSettings
from reclip.cost import flops, meta
from reclip.cost.census import Census, take_census
from reclip.cost.machines import Work
from reclip.data.reading import whole_size, windows
from reclip.data.window_grid import WindowGrid
from reclip.pipeline.plan import Plan

FLOAT = 4  # bytes


class Photos(NamedTuple):
    """Photos of one size (H, W): how many, the size when read, and the sizes of their windows."""

    number: int
    size: tuple[int, int]
    read: tuple[int, int]
    windows: list[tuple[int, int]]


class Facts:
    """A plan, its CLIP without weights, and the census of each of its datasets.

    Attributes:
        dim, patch, token: D of CLIP, pixels of a patch's side, bytes of a cached patch.
        native: CLIP's own grid (h, w) of patches.
        slots: tokens of each dataset's longest class name, with its end token.
    Args:
        use_index: count the photos of datasets that are already prepared.
        census: instead of one that is taken here.
    """

    def __init__(
        self, plan: Plan, use_index: bool = True, census: dict[str, Census] | None = None
    ) -> None:
        self.plan = plan
        self.experiment = plan.experiment
        self.model = plan.experiment.clip.model
        clip = meta.clip(self.model)
        self.dim, self.patch, self.native = clip.embed_dim, clip.patch_size, clip.grid
        self.token = self.dim * {"float16": 2, "float32": 4}[plan.experiment.clip.cache_dtype]
        self.census = census or {
            dataset: take_census(plan, dataset, use_index) for dataset in plan.params.datasets
        }
        self.slots: dict[str, int] = {}
        for dataset in self.census:
            tokens = (clip.tokenizer.encode(names[0]) for names in self.census[dataset].classes)
            self.slots[dataset] = 1 + max(map(len, tokens))

    def dataset(self, run: str) -> str:
        return self.plan.params.runs[run].dataset

    def classes(self, run: str) -> int:
        return len(self.census[self.dataset(run)].classes)

    def by_student(self, run: str) -> bool:
        return self.plan.params.runs[run].method in ("distill", "probe")

    def refinement(self, run: str, split: str) -> RefinementSettings:
        """Return the post-processing of a run's predictions; a student's have none."""
        if self.by_student(run):
            return RefinementSettings()
        section = {"train": "pseudo_mask", "val": "evaluate"}[split]
        return self.experiment.run_section(run, section)

    def photos(self, dataset: str, *splits: str) -> Iterator[Photos]:
        settings = self.experiment.section(dataset, "image")
        for split in splits:
            for size, number in self.census[dataset].sizes[split].items():
                read = whole_size(*size, settings)
                pieces = [(window.height, window.width) for window in windows(read, settings)]
                yield Photos(number, size, read, pieces)

    def work(self, one: Callable[[Photos], Work], dataset: str, *splits: str) -> Work:
        """Return the work on all photos, of which `one` is that on each photo of a size."""
        return sum((p.number * one(p) for p in self.photos(dataset, *splits)), Work())

    def views(self, dataset: str) -> ViewSettings:
        return self.experiment.section(dataset, "views")

    def grid(self, dataset: str) -> WindowGrid | None:
        """Return the windows whose features a dataset has for hypotheses; None without any."""
        if self.experiment.origin(dataset) != dataset:
            return None
        return WindowGrid.of(self.experiment.section(dataset, "hypotheses"))

    def vectors(self, dataset: str, *splits: str) -> int:
        """Return the number of image-level features: of photos, or of their windows."""
        grid = self.grid(dataset)
        if not grid:
            return sum(map(self.census[dataset].photos, splits))
        return sum(p.number * grid.count(*p.size) for p in self.photos(dataset, *splits))

    def view_cells(self, dataset: str, side: int = 0) -> int:
        """Return the cells of a view; `side`: of a cell, instead of CLIP's patch."""
        crop = self.views(dataset).crop
        return cells((crop, crop), side or self.patch)

    def view_megapixels(self, dataset: str) -> float:
        """Return the mean size of the resized photos from which views are cut."""
        low, high = self.views(dataset).scale
        mean_square = (low * low + low * high + high * high) / 3
        pixels = sum(p.number * math.prod(p.read) for p in self.photos(dataset, "train"))
        return mean_square * pixels / self.census[dataset].photos("train") / 1e6

    def steps(self, dataset: str, settings: OptimiserSettings) -> tuple[int, int]:
        """Return (steps, images) of a training; an epoch's short last batch is a step too."""
        photos = self.census[dataset].photos("train") - settings.held_out
        return settings.epochs * math.ceil(photos / settings.batch), settings.epochs * photos

    def student(self, run: str) -> flops.Cost:
        """Return the costs of a run's or its probe's student; the size is with the head."""
        settings = self.experiment.distill(self.plan.params.runs[run].student or run)
        arguments, crop = json.dumps(settings.backbone_args), self.views(self.dataset(run)).crop
        student = flops.student(settings.backbone, arguments, self.dim, crop)
        return student._replace(size=student.size + FLOAT * self.classes(run) * self.dim)

    def rectifier(self, run: str) -> flops.Cost:
        """Return the costs of a run's rectifier; for method query, of the unrectified CLIP."""
        rectified = self.plan.params.runs[run].method == "rectify"
        settings = self.experiment.rectify(run) if rectified else None
        return flops.rectifier(self.model, self.classes(run), settings)


def cells(size: tuple[int, int], side: int) -> int:
    """Return the number of cells of `side`² pixels that cover an image (H, W)."""
    return math.prod(-(-length // side) for length in size)
