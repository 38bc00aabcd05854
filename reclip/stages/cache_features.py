"""Stage `cache-features`: CLIP's dense and image-level features of a dataset, computed once.

The photos are cut into shards (`reclip.clip.shards`). A run that was killed goes on at its first
missing shard. Several jobs may make a share of the shards each before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path

from reclip.clip import extract
from reclip.clip.feature_cache import grid_of, image_columns
from reclip.clip.load import Clip, load_clip
from reclip.clip.shards import Shard, ShardFolder, Share, cut, photos_a_shard
from reclip.clip.window_vectors import cache_windows
from reclip.common.files import require_room, write_json
from reclip.common.npy import save_npy
from reclip.common.tables import write_table
from reclip.data.index import DataSet, Item
from reclip.data.window_grid import WindowGrid
from reclip.device import precision, setup
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish

FLOAT, CELLS = 4, 4  # bytes of a float32, and of a view's rows and columns


def main(job: Job) -> None:
    """Write the feature cache of a dataset; `reclip.clip.feature_cache` lists its files."""
    cache = NewCache(job)
    cache.folder.remove_others()
    cache.make(cache.shards)
    notes = precision.note(job.settings["compute"], cache.precision)
    finish(job, cache.describe(), notes=notes)
    cache.folder.forget(cache.shards)


def make_share(job: Job, share: Share) -> None:
    """Write the shards of one share, and its marker last; `main` makes the cache of them."""
    cache = NewCache(job)
    cache.make(share.of(cache.shards))
    cache.folder.mark_share(share)


class NewCache:
    """The feature cache that a job makes.

    Attributes:
        folder: of the shards.
        shards: of both splits, in order.
        precision: in which CLIP computes.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.settings, self.image = job, job.settings, job.settings["image"]
        self.grid: WindowGrid | None = self.settings.get("hypothesis_windows")
        self.folder = ShardFolder(job.folder, job.digest)
        compute = self.settings["compute"]
        device = setup(compute)
        self.precision = precision.resolve(compute.precision, device)
        clip = load_clip(self.settings["clip"], device).compute_in(self.precision)
        loaders = compute.loaders
        self.extractor = extract.Extractor(clip, self.settings["clip"], loaders)
        data = DataSet(job.inputs["data"].folder)
        self.items = {split: data.items(split) for split in ("train", "val")}
        self.sizes = {split: self._bytes_a_photo(split) for split in self.items}
        self.steps = {split: photos_a_shard(size) for split, size in self.sizes.items()}
        cuts = (cut(split, len(items), self.steps[split]) for split, items in self.items.items())
        self.shards: list[Shard] = list(chain.from_iterable(cuts))

    def _bytes_a_photo(self, split: str) -> float:
        """Return the mean size of a photo's features on disk; 0 for an empty split."""
        extractor, items, views = self.extractor, self.items[split], self.settings["views"]
        pieces = chain.from_iterable(extract.layout(items, self.image, extractor.patch))
        tokens = extract.count_tokens(pieces, extractor.patch) / max(1, len(items))
        vectors = sum(map(self._windows, items)) / max(1, len(items)) if self.grid else 1
        more = FLOAT * extractor.dim * vectors
        if split == "train":
            tokens += views.count * math.prod(grid_of((views.crop, views.crop), extractor.patch))
            more += CELLS * views.count
        return tokens * extractor.dim * extractor.dtype.itemsize + more if items else 0

    def _windows(self, item: Item) -> int:
        return self.grid.count(item.height, item.width)

    def make(self, shards: list[Shard]) -> None:
        """Write the shards that are not complete yet.

        Raises ReclipError: the disk has too little room for them.
        """
        missing = [shard for shard in shards if not self.folder.done(shard)]
        size = sum((shard.stop - shard.start) * self.sizes[shard.split] for shard in missing)
        require_room(self.job.folder, size)
        for shard in missing:
            items, folder = self.items[shard.split][shard.start : shard.stop], self.folder.of(shard)
            self._photos(items, folder)
            if shard.split == "train":
                extract.cache_views(
                    self.extractor, items, self.settings["views"], self.image, folder
                )
            self.folder.mark_done(shard)

    def _photos(self, items: list[Item], folder: Path) -> None:
        """Write the tokens and the image-level features of a shard's photos.

        A dataset `of` another has the hypotheses of that, and none of these features.
        """
        kind, path = self.settings.get("hypothesis_image"), folder / "global.npy"
        whole = self.image.model_copy(update={"protocol": "whole"})
        shared = kind == "whole" and self.image == whole
        vectors = extract.cache_pieces(
            self.extractor, items, self.image, folder, with_global=shared
        )
        if self.grid:
            loaders = self.extractor.loaders
            cache_windows(self._unchanged_clip, items, self.grid, loaders, path)
        elif kind == "centre_crop":
            save_npy(path, extract.centre_crops(self._unchanged_clip, items))
        elif shared or kind is None:
            save_npy(path, vectors)
        else:
            save_npy(path, extract.whole_images(self.extractor, items, whole))

    @cached_property
    def _unchanged_clip(self) -> Clip:
        """The CLIP that guesses the classes of centre crops and of windows.

        The official code does so with CLIP unchanged, even if the dense features come from an image
        tower with another activation.
        """
        changed = {"activation": "default", "block_ln_eps": None}
        spec = self.settings["clip"].model_copy(update=changed)
        return load_clip(spec, self.extractor.clip.device).compute_in(self.precision)

    def describe(self) -> list[Path]:
        """Write the lists of images and the manifest; return all files of the cache."""
        outputs = [file for shard in self.shards for file in self.folder.files(shard)]
        for split in self.items:
            outputs.append(self.job.folder / f"{split}.csv")
            write_table(outputs[-1], image_columns(self.grid), self._images(split))
        manifest = {
            "shards": self.folder.path.name,
            "photos_a_shard": self.steps,
            "dim": self.extractor.dim,
            "dtype": self.extractor.dtype.name,
            "patch": self.extractor.patch,
            "norm": self.extractor.norm,
            "view_settings": self.settings["views"].model_dump(mode="json"),
            "image_settings": self.image.model_dump(mode="json"),
        }
        if self.grid:
            manifest["hypothesis_windows"] = self.grid.model_dump(mode="json")
        outputs.append(self.job.folder / "manifest.json")
        write_json(outputs[-1], manifest)
        return outputs

    def _images(self, split: str) -> Iterator[tuple[str | int, ...]]:
        """Yield the values of a row for each photo; see `image_columns`."""
        for shard in self.shards:
            if shard.split == split:
                items = self.items[split][shard.start : shard.stop]
                places = extract.layout(items, self.image, self.extractor.patch)
                for item, (first, *_) in zip(items, places, strict=True):
                    counted = (self._windows(item),) if self.grid else ()
                    yield item.id, *first.size, first.offset, *counted
