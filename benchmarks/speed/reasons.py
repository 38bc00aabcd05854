"""Why a stage does not reach 60% of the machine's limit, in words, in one place.

`make bench` fails if a stage stays under `ENOUGH` and no reason fits. A reason is shown only then.
Write one when you know where the time goes (`torch.profiler`), not before.
"""

from __future__ import annotations

from typing import NamedTuple

from speed.measure import Row

ENOUGH = 0.6


class Reason(NamedTuple):
    """A reason for the rows that it fits; None fits every value."""

    stage: str | None
    device: str
    text: str
    precision: str | None = None
    size: str | None = None

    def fits(self, row: Row, device: str) -> bool:
        pairs = (
            (self.stage, row.stage), (self.device, device),
            (self.precision, row.precision), (self.size, row.size),
        )  # fmt: skip
        return all(wanted is None or wanted == value for wanted, value in pairs)


REASONS = (
    Reason(
        "read-photos", "cpu",
        "the limit is decoding alone; resizing as OpenCV does, and the colours of the view, work "
        "on several times as many bytes in numpy",
    ),
    Reason(
        "class-map", "cpu",
        "the limit writes and reads each value once; interpolation reads four neighbours for each, "
        "and the maximum over classes is a pass of its own",
    ),
    Reason(
        "evaluation", "cpu",
        "the limit reads both maps once; counting adds to scattered places, on integers of 32 "
        "bits, once for each of three measures",
    ),
    Reason(
        None, "cpu", "its networks are so small that calling operations takes the time",
        size="mini",
    ),
    Reason(
        None, "cpu",
        "products in bfloat16 take so little time that norms, softmax, activations, residuals and "
        "the conversion of weights take most of it",
        precision="bfloat16",
    ),
    Reason(
        "text-queries", "cpu",
        "norms, softmax and activations; matrices of a dozen tokens a prompt",
        precision="float32",
    ),
    Reason(
        "reference-encoder", "cpu",
        "a few tokens a class attend to a shared start: small matrices, and softmax, GELU and "
        "norms forward and backward",
        precision="float32",
    ),
    Reason(
        "rectification", "cpu",
        "the text tower's small matrices, and Gumbel noise, softmax and masks of every cell and "
        "class, which multiply nothing",
        precision="float32",
    ),
    Reason(
        "distillation-image", "cpu",
        "features and gradients are resized to every pixel: some GB a view of reads and writes "
        "that multiply nothing; batch norms of a ResNet, too",
        precision="float32",
    ),
    Reason(
        "distillation-grid", "cpu",
        "batch norms and activations of a ResNet read and write every map and multiply nothing",
        precision="float32",
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
