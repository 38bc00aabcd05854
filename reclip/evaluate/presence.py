"""The true classes of val images, for diagnoses only: no training reads them."""

from __future__ import annotations

import numpy as np
import torch

from reclip.data.images import read_label
from reclip.data.index import DataSet, Item
from reclip.pipeline.job import Job
from reclip.rectify.hypotheses import read_hypotheses


def classes_present(items: list[Item], num_classes: int) -> torch.Tensor:
    """Return bool (N, C): whether the label map of image n has a pixel of class c."""
    present = torch.zeros(len(items), num_classes, dtype=torch.bool)
    for i, item in enumerate(items):
        ids = np.unique(read_label(item.label))
        present[i, ids[ids < num_classes].astype(int)] = True
    return present


def hypotheses_and_truth(job: Job) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an evaluate job's hypotheses of the val images and their classes, bool (N, C)."""
    data = DataSet(job.inputs["data"].folder)
    items = data.items("val")
    path = job.inputs["hypotheses"].folder / "val.csv"
    found = read_hypotheses(path, [item.id for item in items], data.num_classes)
    return found, classes_present(items, data.num_classes)
