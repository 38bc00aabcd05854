"""Refine logits by the photo's colours: PAMR, pixel-adaptive mask refinement.

From Araslanov and Roth, "Single-stage semantic segmentation from image labels", CVPR 2020. It is
used as in the code of NACLIP (Hajimiri et al., WACV 2025): on cosines before any scaling or
softmax, at the photo's size, with the colours of the image as read for CLIP, resized to that size.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional

from reclip.config.models import RefinementSettings
from reclip.data.reading import Frame, resize_image
from reclip.data.resize_maps import resize

NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
SHARPNESS = 0.1  # the authors' code: a difference counts in tenths of the local deviation
EPSILON = 1e-8  # the authors' code
STEPS_OF_A_COLOUR = 256  # ours: see `colours`
VALUES_OF_A_BAND = 2**20  # ours: differences of colour that are in memory at a time
VALUES_IN_CACHE = 2**18  # ours: logits that a CPU core reads 16 times in its cache


def colours(photo: np.ndarray, frame: Frame, device: torch.device) -> torch.Tensor:
    """Return the colours float32 (3, H, W), 0 to 255, of a photo uint8 (H, W, 3) as CLIP saw it.

    The image as read is resized back to the photo's size. Its values are rounded to 1/256: only
    differences in units of their local deviation count, so in a flat area the last bits of the
    resizing, which differ by device, would decide.
    """
    read = torch.from_numpy(np.ascontiguousarray(resize_image(photo, frame.read)))
    found = read.to(device).permute(2, 0, 1).float()
    if tuple(frame.read) == tuple(frame.size):
        return found
    found = resize(found[None], frame.size)[0]
    return found.mul_(STEPS_OF_A_COLOUR).round_().div_(STEPS_OF_A_COLOUR)


class Refiner:
    """Moves maps of one photo between pixels of like colour.

    In each of `settings.pamr` iterations, a pixel's value becomes the mean over its 8 neighbours at
    each dilation, with weights that add up to 1; the pixel itself is not among them. Outside the
    photo, the pixel at its edge counts.

    The weights take 32 bytes a pixel and dilation. Each map is refined on its own, so the result
    does not depend on which maps come together.

    colours: of the photo, float32 (3, H, W).
    """

    def __init__(self, colours: torch.Tensor, settings: RefinementSettings) -> None:
        self.iterations, dilations = settings.pamr, settings.pamr_dilations
        self.offsets = [(d * y, d * x) for d in dilations for y, x in NEIGHBOURS]
        self.margin = max(dilations)
        # The authors' deviation is over all 9 places of each dilation, so a pixel counts for each.
        self._places = len(self.offsets) + len(dilations)
        self.weights = self._weights(colours)

    def __call__(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps (C, H, W), refined."""
        if not self.iterations:
            return maps
        step = len(maps)
        if maps.device.type == "cpu":
            step = max(1, VALUES_IN_CACHE // maps[0].numel())
        refined = torch.empty_like(maps)
        for start in range(0, len(maps), step):
            refined[start : start + step] = self._refined(maps[start : start + step])
        return refined

    def _refined(self, maps: torch.Tensor) -> torch.Tensor:
        height, width = maps.shape[-2:]
        for _ in range(self.iterations):
            shifts = self._shifts(self._padded(maps), 0, height, width)
            maps = torch.zeros_like(maps)
            for weight, shifted in zip(self.weights, shifts, strict=True):
                # Not `addcmul`: it rounds once or twice, by where a value lies in memory.
                maps += shifted * weight
        return maps

    def _weights(self, colours: torch.Tensor) -> torch.Tensor:
        """Return the weight of each neighbour of each pixel, (8 × dilations, H, W)."""
        height, width = colours.shape[-2:]
        found = colours.new_empty(len(self.offsets), height, width)
        padded = self._padded(colours)
        rows = max(1, VALUES_OF_A_BAND // found[:, 0].numel())
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            likeness = colours.new_zeros(len(self.offsets), bottom - top, width)
            for own, around in zip(colours, padded, strict=True):
                shifts = self._shifts(around, top, bottom, width)
                away = torch.stack(list(shifts)).sub_(own[top:bottom])
                likeness -= away.abs() / (EPSILON + SHARPNESS * self._deviation(away))
            found[:, top:bottom] = (likeness / len(colours)).softmax(0)
        return found

    def _deviation(self, away: torch.Tensor) -> torch.Tensor:
        """Return the deviation (h, W) of a colour, from its differences to the pixel's (N, h, W).

        A pixel's own differences are 0. They keep the squared mean well below the mean square, so
        little precision is lost between them.
        """
        squares = away.square().sum(0) - away.sum(0).square() / self._places
        return (squares / (self._places - 1)).sqrt()

    def _padded(self, maps: torch.Tensor) -> torch.Tensor:
        return functional.pad(maps, [self.margin] * 4, mode="replicate")

    def _shifts(
        self, padded: torch.Tensor, top: int, bottom: int, width: int
    ) -> Iterator[torch.Tensor]:
        """Yield, for each neighbour, its values (..., bottom - top, width) of rows of pixels."""
        for y, x in self.offsets:
            y, x = y + self.margin, x + self.margin
            yield padded[..., top + y : bottom + y, x : x + width]
