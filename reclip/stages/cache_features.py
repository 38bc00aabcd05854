"""Stage `cache-features`: CLIP's dense and image-level features of a dataset, computed once."""

from __future__ import annotations

import numpy as np

from reclip.clip import extract
from reclip.clip.load import load_clip
from reclip.common.files import atomic, write_json
from reclip.data.index import DataSet
from reclip.device import setup
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish


def main(job: Job) -> None:
    """Write the feature cache of a dataset; `reclip.clip.feature_cache` lists its files."""
    settings = job.settings
    clip = load_clip(settings["clip"], setup(settings["compute"]))
    extractor = extract.Extractor(clip, settings["clip"], settings["compute"].loaders)
    data = DataSet(job.inputs["data"].folder)
    image = settings["image"]
    # The official code guesses the classes with CLIP unchanged, even if the dense features come
    # from an image tower with another activation.
    unchanged = settings["clip"].model_copy(update={"activation": "default", "block_ln_eps": None})
    centre = settings["hypothesis_image"] == "centre_crop"
    whole = image.model_copy(update={"protocol": "whole"})
    outputs, splits = [], {}
    for split in ("train", "val"):
        items = data.items(split)
        splits[split], pieces = extract.layout(items, image, extractor.patch)
        path = job.folder / f"{split}.npy"
        shared = not centre and image == whole
        vectors = extract.cache_pieces(extractor, items, pieces, path, with_global=shared)
        if centre:
            vectors = extract.centre_crops(load_clip(unchanged, clip.device), items)
        elif not shared:
            vectors = extract.whole_images(extractor, items, whole)
        global_path = job.folder / f"{split}-global.npy"
        with atomic(global_path) as partial:
            np.save(partial, vectors)
        outputs += [path, global_path]
    outputs += extract.cache_views(extractor, data.items("train"), settings, job.folder)
    manifest = {
        "splits": splits,
        "dim": extractor.dim,
        "patch": extractor.patch,
        "norm": extractor.norm,
        "view_settings": settings["views"].model_dump(mode="json"),
        "image_settings": image.model_dump(mode="json"),
    }
    write_json(job.folder / "manifest.json", manifest)
    finish(job, [*outputs, job.folder / "manifest.json"])
