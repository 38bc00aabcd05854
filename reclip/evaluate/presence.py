"""The classes in the label maps of the val split, for diagnoses only: no training reads them."""

from __future__ import annotations

import numpy as np
import torch

from reclip.data.images import read_label
from reclip.data.index import Item


def classes_present(items: list[Item], num_classes: int) -> torch.Tensor:
    """Return bool (N, C): whether the label map of image n has a pixel of class c."""
    present = torch.zeros(len(items), num_classes, dtype=torch.bool)
    for i, item in enumerate(items):
        ids = np.unique(read_label(item.label))
        present[i, ids[ids < num_classes].astype(int)] = True
    return present
