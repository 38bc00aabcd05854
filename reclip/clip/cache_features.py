"""Stage `cache-features`: CLIP's dense and image-level features of a data set, computed once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from reclip.clip.dense import dense_features
from reclip.clip.load import Clip, load_clip
from reclip.data.images import read_image
from reclip.data.index import DataSet, Item
from reclip.data.views import crop_image, draw_view, normalise, pad_to, resize_image, whole_size
from reclip.device import setup
from reclip.files import atomic, write_json
from reclip.jobs import Job

TOKENS_A_BATCH = 4096  # bounds memory: images of one size share a batch up to this many tokens
CENTRE_CROP = 224  # official: CLIP's own preprocessing for the hypotheses


def main(job: Job) -> None:
    """Write the files that `reclip.clip.feature_cache` describes."""
    settings = job.settings
    device = setup(settings["compute"])
    clip = load_clip(settings["clip"], device)
    extractor = Extractor(clip, settings["clip"], device)
    data = DataSet(job.inputs["data"].folder)
    outputs, splits = [], {}
    for split in ("train", "val"):
        items = data.items(split)
        entries = _layout(items, settings["image"], clip.patch_size)
        splits[split] = entries
        outputs += _cache_whole(extractor, items, entries, split, settings, job.folder)
    views = settings["views"]
    outputs += _cache_views(extractor, data.items("train"), settings, job.folder)
    manifest = {
        "splits": splits,
        "dim": clip.embed_dim,
        "patch": clip.patch_size,
        "norm": settings["clip"].norm,
        "view_settings": views.model_dump(mode="json"),
        "image_settings": settings["image"].model_dump(mode="json"),
    }
    write_json(job.folder / "manifest.json", manifest)
    job.done([*outputs, job.folder / "manifest.json"])


class Extractor:
    """Dense and global features of normalised images."""

    def __init__(self, clip: Clip, settings, device: torch.device):
        self.clip, self.settings, self.device = clip, settings, device

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, with_global: bool = False):
        z, image_level = dense_features(
            self.clip,
            images.to(self.device),
            residual=self.settings.residual,
            mlp=self.settings.mlp,
            with_global=with_global,
        )
        return z.half().cpu().numpy(), None if image_level is None else image_level.cpu().numpy()


def _layout(items: list[Item], image, patch: int) -> list[dict]:
    """Where each whole image's tokens lie."""
    entries, offset = [], 0
    for item in items:
        size = whole_size(item.height, item.width, image)
        grid = [-(-side // patch) for side in size]
        entries.append({"id": item.id, "offset": offset, "grid": grid, "size": list(size)})
        offset += grid[0] * grid[1]
    return entries


def _same_size_batches(entries: list[dict]) -> Iterator[list[int]]:
    """Indices of images of one size, few enough that a batch fits."""
    by_size: dict[tuple, list[int]] = {}
    for i, entry in enumerate(entries):
        by_size.setdefault(tuple(entry["size"]), []).append(i)
    for indices in by_size.values():
        grid = entries[indices[0]]["grid"]
        step = max(1, TOKENS_A_BATCH // (grid[0] * grid[1]))
        for start in range(0, len(indices), step):
            yield indices[start : start + step]


def _cache_whole(extractor, items, entries, split, settings, folder: Path) -> list[Path]:
    """Tokens and image-level features of the whole images of a split."""
    dim = extractor.clip.embed_dim
    total = entries[-1]["offset"] + entries[-1]["grid"][0] * entries[-1]["grid"][1]
    image_level = np.zeros((len(items), dim), np.float32)
    norm = settings["clip"].norm
    centre = settings["hypothesis_image"] == "centre_crop"
    path, global_path = folder / f"{split}.npy", folder / f"{split}-global.npy"
    with atomic(path) as partial:
        tokens = np.lib.format.open_memmap(partial, "w+", np.float16, (total, dim))
        bar = tqdm(total=len(items), desc=f"features of {split}", disable=None)
        for batch in _same_size_batches(entries):
            photos = [read_image(items[i].image) for i in batch]
            read = [
                normalise(resize_image(photo, entries[i]["size"]), norm)
                for i, photo in zip(batch, photos, strict=True)
            ]
            z, vectors = extractor(torch.stack(read), with_global=not centre)
            if centre:
                crops = torch.stack([centre_crop(photo, norm) for photo in photos])
                vectors = extractor(crops, with_global=True)[1]
            for k, i in enumerate(batch):
                start = entries[i]["offset"]
                tokens[start : start + z.shape[1] * z.shape[2]] = z[k].reshape(-1, dim)
                image_level[i] = vectors[k]
            bar.update(len(batch))
        tokens.flush()
    with atomic(global_path) as partial:
        np.save(partial, image_level)
    return [path, global_path]


def centre_crop(photo: np.ndarray, norm: str) -> torch.Tensor:
    """Short side to 224, the middle 224×224: (3, 224, 224)."""
    scale = CENTRE_CROP / min(photo.shape[:2])
    size = tuple(max(CENTRE_CROP, int(side * scale)) for side in photo.shape[:2])
    top, left = (round((side - CENTRE_CROP) / 2) for side in size)
    resized = resize_image(photo, size)
    return normalise(resized[top : top + CENTRE_CROP, left : left + CENTRE_CROP], norm)


def _cache_views(extractor, items, settings, folder: Path) -> list[Path]:
    """Tokens of the augmented views."""
    views, image, norm = settings["views"], settings["image"], settings["clip"].norm
    patch, dim = extractor.clip.patch_size, extractor.clip.embed_dim
    side = -(-views.crop // patch)
    shape = (views.count, len(items), side, side, dim)
    cells = np.zeros((views.count, len(items), 2), np.int16)
    step = max(1, TOKENS_A_BATCH // side**2)
    path, cells_path = folder / "views.npy", folder / "view-cells.npy"
    with atomic(path) as partial:
        tokens = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
        bar = tqdm(total=views.count * len(items), desc="features of views", disable=None)
        for start in range(0, len(items), step):
            chunk = items[start : start + step]
            photos = [read_image(item.image) for item in chunk]
            for number in range(views.count):
                read = []
                for k, (item, photo) in enumerate(zip(chunk, photos, strict=True)):
                    view = draw_view(item.id, item.height, item.width, number, views, image)
                    crop = normalise(crop_image(photo, view), norm)
                    read.append(pad_to(crop, views.crop, views.crop))
                    cells[number, start + k] = -(-view.height // patch), -(-view.width // patch)
                z, _ = extractor(torch.stack(read))
                tokens[number, start : start + len(chunk)] = z
                bar.update(len(chunk))
        tokens.flush()
    with atomic(cells_path) as partial:
        np.save(partial, cells)
    return [path, cells_path]
