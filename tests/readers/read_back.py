"""Read annotations with other people's programs, in an environment of its own (.venv-readers).

    python read_back.py OUTPUT.npz FORMAT=PATH...

FORMAT is coco, cvat or label-studio. OUTPUT has "index", a JSON list of [PATH, item, label, number
of annotations], and for row n of it the union of these annotations as `mask-n`, bool (H, W).
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

Found = Iterator[tuple[str, str, object, np.ndarray]]
"""Item, label, id and mask of each annotation, or of each of its polygons."""


def from_datumaro(path: Path, format: str) -> Found:
    from datumaro.components.annotation import AnnotationType
    from datumaro.components.dataset import Dataset

    dataset = Dataset.import_from(str(path), format)
    dataset.transform("polygons_to_masks")
    labels = dataset.get_label_cat_names()
    for item in dataset:
        for annotation in item.annotations:
            if annotation.type == AnnotationType.mask:  # a box comes with each
                mask = np.asarray(annotation.image, bool)
                yield item.id, labels[annotation.label], annotation.group, mask


def coco(path: Path) -> Found:
    with tempfile.TemporaryDirectory() as folder:  # datumaro wants COCO's own folders
        Path(folder, "images").mkdir()
        Path(folder, "annotations").mkdir()
        file = shutil.copyfile(path, Path(folder, "annotations/instances_default.json"))
        yield from from_datumaro(file, "coco_instances")


def cvat(path: Path) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        if path.suffix == ".zip":
            zipfile.ZipFile(path).extractall(folder)
            path = Path(folder)
        yield from from_datumaro(path, "voc_segmentation")


def label_studio(path: Path) -> Found:
    from label_studio_sdk.converter.brush import decode_from_annotation
    from label_studio_sdk.label_interface import LabelInterface

    interface = LabelInterface((path / "config.xml").read_text(encoding="utf-8"))
    interface.validate()
    for task in json.loads((path / "tasks.json").read_text(encoding="utf-8")):
        assert interface.validate_task({"data": task["data"]})
        (prediction,) = task["predictions"]
        assert not (errors := interface.validate_prediction(prediction, return_errors=True)), errors
        for region in prediction["result"]:
            (layer,) = decode_from_annotation("class", [{**region, **region["value"]}]).values()
            assert set(np.unique(layer)) <= {0, 255}
            (label,) = region["value"]["brushlabels"]
            yield task["data"]["image"], label, region["id"], layer > 0


def main(output: str, *arguments: str) -> None:
    readers = {"coco": coco, "cvat": cvat, "label-studio": label_studio}
    index, masks = [], {}
    for argument in arguments:
        format, path = argument.split("=", 1)
        ids, unions = defaultdict(set), {}
        for item, label, id, mask in readers[format](Path(path)):
            ids[item, label].add(id)
            unions[item, label] = mask | unions.get((item, label), False)
        for (item, label), union in unions.items():
            masks[f"mask-{len(index)}"] = union
            index.append([path, item, label, len(ids[item, label])])
    np.savez_compressed(output, index=json.dumps(index), **masks)


main(*sys.argv[1:])
