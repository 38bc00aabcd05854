"""The look of all figures, and saving them: the same numbers give the same bytes."""

from __future__ import annotations

import colorsys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from reclip.common.files import atomic
from reclip.data.images import IGNORED, palette
from reclip.data.world.textures import HUES, TEXTURES

WIDTH = 9.0
"""Width of the report's figures in inches."""

# Colours of Okabe and Ito, which colour-blind readers can tell apart; markers differ, too.
COLOURS = {
    "query": "#E69F00",
    "reference": "#56B4E9",
    "rectified": "#0072B2",
    "distilled": "#009E73",
}
MARKERS = {"query": "o", "reference": "D", "rectified": "s", "distilled": "^"}
SERIES = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
SERIES_MARKERS = "os^Dv*X"
DATASET_COLOURS = ("#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
FAINT = "#D9D9D9"
NOTE = "#666666"

_RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.06,
    "text.parse_math": False,  # names of classes and photos may hold a $
    "figure.titlesize": 9,
    "figure.titleweight": "bold",
    "image.interpolation": "nearest",
    "hatch.linewidth": 0.5,
    "savefig.dpi": 150,
    "pdf.fonttype": 42,  # TrueType, as conferences require
    "svg.hashsalt": "reclip",  # without it, ids are random
}


@contextmanager
def applied() -> Iterator[None]:
    """Context manager: draw and save in this style and ignore the user's matplotlibrc."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


# No date and no version: they would change the bytes.
_METADATA = {
    ".png": {"Software": None},
    ".pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    ".svg": {"Creator": None, "Date": None},
}
FORMATS = tuple(_METADATA)


def save(figure: Figure, path: Path) -> None:
    """Write a figure in one of FORMATS, by its suffix, without version or date."""
    suffix = path.suffix.lower()
    with atomic(path) as partial:
        figure.savefig(partial, format=suffix[1:], metadata=_METADATA[suffix])


def nothing(reason: str) -> Figure:
    """Return a figure that says why there is nothing to show."""
    figure = Figure(figsize=(WIDTH, 1.2))
    figure.text(0.5, 0.5, f"Nothing to show: {reason}.", ha="center", va="center", color=NOTE)
    return figure


def note(figure: Figure, text: str, size: float = 7) -> None:
    """Write small print below a figure."""
    figure.supxlabel(text, fontsize=size, color=NOTE)


# Saturation and value of a mini world's textures: similar textures get distant values.
_SHADES = dict(
    zip(
        TEXTURES,
        ((1.0, 0.5), (0.35, 1.0), (1.0, 0.85), (0.5, 0.65), (0.65, 1.0), (0.35, 0.45)),
        strict=True,
    )
)


def class_colours(names: Sequence[str]) -> np.ndarray:
    """Return RGB in 0..1 (C, 3): the label maps' palette; mini worlds keep their hues."""
    words = [name.split() for name in names]
    if all(len(w) == 2 and w[0] in HUES and w[1] in TEXTURES for w in words):
        return np.array([colorsys.hsv_to_rgb(HUES[h] / 360, *_SHADES[t]) for h, t in words])
    return np.array(palette(len(names))[: 3 * len(names)]).reshape(-1, 3) / 255


def mask_image(label: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return class ids (H, W) as RGB in 0..1 (H, W, 3); ignored pixels are white, striped grey."""
    colours = np.ones((256, 3))
    colours[: len(names)] = class_colours(names)
    image = colours[label]
    rows, cols = np.indices(label.shape)
    period = max(4, max(label.shape) // 14)
    stripes = (rows + cols) % period < max(1, period // 5)
    image[(label == IGNORED) & stripes] = 0.75
    return image


def show(ax: Axes, image: np.ndarray, title: str = "", **look: Any) -> AxesImage:
    """Draw an image (H, W, 3) or map (H, W) without ticks, in a thin frame."""
    drawn = ax.imshow(image, **look)
    ax.set(xticks=[], yticks=[], title=title, frame_on=True)
    ax.spines[:].set(visible=True, linewidth=0.4, color=NOTE)
    return drawn


def signed_ends(bar: Colorbar, end: float) -> None:
    """Label a colour bar from -end to end at both ends and at 0."""
    digits = 2 if end >= 0.1 else 3
    bar.set_ticks((-end, 0, end), labels=[number(-end, digits), "0", number(end, digits)])
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_visible(False)


def class_patches(present: Iterable[int], names: Sequence[str]) -> list[Patch]:
    """Return the legend entries of the ids in `present`; ignored pixels come last."""
    colours = class_colours(names)
    entries = [Patch(facecolor=colours[k], label=names[k]) for k in sorted(present) if k != IGNORED]
    if IGNORED in present:
        entries.append(Patch(facecolor="white", edgecolor="#AAAAAA", hatch="////", label="ignored"))
    return entries


def legend_shape(present: Collection[int], names: Sequence[str]) -> tuple[int, int]:
    """Return the columns and lines of the legend of the ids in `present`."""
    longest = max((len(names[k]) for k in present if k != IGNORED), default=0)
    columns = max(1, min(6, 132 // (8 + longest)))
    return columns, -(-len(present) // columns)


def class_legend(
    figure: Figure | SubFigure, present: Collection[int], names: Sequence[str]
) -> None:
    """Name the colours of the ids in `present` below a figure; long names get fewer columns."""
    entries = class_patches(present, names)
    columns, _ = legend_shape(present, names)
    figure.legend(handles=entries, loc="outside lower center", ncols=columns, columnspacing=1.2)


def methods_legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """Name the methods or runs above a figure, as the panel with most of them does."""
    entries = (ax.get_legend_handles_labels() for ax in axes)
    figure.legend(*max(entries, key=lambda e: len(e[0])), loc="outside upper center", ncols=3)


def roles_legend(figure: Figure, names: Mapping[str, str]) -> None:
    """Name the colours of roles above a figure, in the order of `names`; say what bars mean."""
    patches = [Patch(facecolor=COLOURS[role], label=name) for role, name in names.items()]
    figure.legend(
        handles=patches, loc="outside upper center", ncols=len(patches), fontsize=9,
        title="Bars nearer to 0 are less biased", title_fontsize=9, alignment="center",
    )  # fmt: skip


def number(value: float, digits: int) -> str:
    """Return a number with a true minus sign; an empty text for NaN."""
    value = round(value, digits) + 0.0  # no "−0"
    return "" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")
