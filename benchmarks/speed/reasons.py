"""Why a stage does not reach 60% of the machine's limit, in words, in one place.

`make bench` fails if a stage stays under `ENOUGH` and no reason fits. A reason is shown only then.
Write one when you know where the time goes (`torch.profiler`), not before.
"""

from __future__ import annotations

from typing import NamedTuple

from speed.measure import Row

ENOUGH = 0.6


class Reason(NamedTuple):
    """A reason for the rows that it fits; no stages, or None, fit every value."""

    stages: tuple[str, ...]
    device: str
    text: str
    precision: str | None = None
    size: str | None = None

    def fits(self, row: Row, device: str) -> bool:
        pairs = (
            (self.device, device), (self.precision, row.precision), (self.size, row.size)
        )  # fmt: skip
        here = not self.stages or row.stage in self.stages
        return here and all(wanted is None or wanted == value for wanted, value in pairs)


REASONS = (
    Reason(
        ("read-photos",), "cpu",
        "the limit is decoding alone; resizing as OpenCV does takes two fifths of the time, the "
        "colours of the view most of the rest",
    ),
    Reason(
        ("evaluation",), "cpu",
        "the limit reads both maps once; counting adds to scattered places, on integers of 32 "
        "bits, once for each of three measures",
    ),
    Reason(
        (), "cpu", "its networks and maps are so small that calling operations takes the time",
        size="mini",
    ),
    Reason(
        ("class-map",), "cpu",
        "the limit writes and reads each value once; products make them a second time where the "
        "maximum over classes finds them in the cache, and a few pixels are interpolated again",
    ),
    Reason(
        ("dense-features",), "cpu",
        "products take two fifths of the time; the rest is attention, copies between the two "
        "precisions, GELU and norms",
        precision="bfloat16",
    ),
    Reason(
        ("text-queries",), "cpu",
        "products take five sixths of the time, of a dozen tokens a prompt: half as fast as large "
        "ones",
    ),
    Reason(
        ("reference-encoder",), "cpu",
        "products of a few tokens a class take two thirds of the time; the rest is hundreds of "
        "small operations, forward and backward",
    ),
    Reason(
        ("rectification", "rectification-compiled"), "cpu",
        "products and convolutions take four fifths of the time, of a few tokens a class and of "
        "one map of cells: half as fast as large ones; the rest is hundreds of small operations",
    ),
    Reason(
        ("distillation-image",), "cpu",
        "convolutions take half of the time or less; the feature loss at the photo's resolution "
        "and batch norms read and write some GB and multiply nothing",
    ),
    Reason(
        ("distillation-grid",), "cpu",
        "convolutions take three fifths of the time; batch norms, activations and sums of parts "
        "read and write every map",
        precision="bfloat16",
    ),
)  # fmt: skip
"""The first that fits counts. Reasons of a GPU are written with the first run on one."""


def reason(row: Row, device: str) -> str | None:
    """Return why a row is under `ENOUGH`: a text, empty if it is not, None if nobody knows."""
    if row.share >= ENOUGH:
        return ""
    return next((known.text for known in REASONS if known.fits(row, device)), None)


def unexplained(rows: list[Row], device: str) -> list[Row]:
    return [row for row in rows if reason(row, device) is None]
