"""What a figure of chosen runs says of itself: definitions, numbers and choices, as plain text."""

from __future__ import annotations

import numpy as np

from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import Result, mean_and_sd, row_shares
from reclip.evaluate.figures.one_photo import Logits, Photo, Scale


def seeds_of(result: Result) -> str:
    """A run and how many values are behind its mean."""
    count = len(result.confusion)
    return f"{result.run} ({count} seed{'s' * (count > 1)})"


def distance(dataset: str, results: list[Result]) -> str:
    """Definition, and a line a bin: objects, and each run's mean and standard deviation."""
    edges, objects, _ = results[0].distance
    lines = [
        f"mIoU on {dataset}'s val split by how far an object lies from the centre of its image. "
        "An object is the region of one class in one image. Its distance is that of its centroid "
        "from the image's centre, over half the diagonal: 0 is the centre, 1 a corner. "
        "Intersections and unions are added up by class and by bin, and the mean is over the "
        "classes with an object in the bin. Lines are means over seeds, bands one standard "
        "deviation (n - 1); a single value has none. Bars are the number of objects: where there "
        "are few, the mIoU says little. Compare Fig. 1 (a) of the paper, whose definition is not "
        "published: this one is ours.",
        f"Runs: {', '.join(map(seeds_of, results))}.",
        "distance, objects, " + ", ".join(f"{r.run} (mIoU in %)" for r in results),
    ]
    columns = [mean_and_sd(r.distance[2]) for r in results]
    several = [len(r.distance[2]) > 1 for r in results]
    for k, count in enumerate(objects):
        cells = [
            "-" if np.isnan(mean[k]) else f"{mean[k]:.1f}" + (f" ± {sd[k]:.1f}" if many else "")
            for (mean, sd), many in zip(columns, several, strict=True)
        ]
        lines.append(f"{edges[k]:.3f} to {edges[k + 1]:.3f}, {count}, " + ", ".join(cells))
    return "\n".join(lines) + "\n"


def confusion(dataset: str, results: list[Result], classes: list[int], chosen: str) -> str:
    """Definition, how the classes were chosen, and the largest spread over seeds."""
    lines = [
        f"Where the pixels of {len(classes)} classes of {dataset}'s val split go, in % of each "
        'true class\'s pixels; "any other" is every class that is not shown, if any, so that rows '
        "add up to 100. Mean over seeds; a dash or an empty row is a class without pixels. Compare "
        "Fig. 1 (b) of the paper.",
        f"Classes: {chosen}.",
        f"Runs: {', '.join(map(seeds_of, results))}.",
    ]
    for result in results:
        if len(result.confusion) > 1:
            _, sd = mean_and_sd(row_shares(result.confusion)[:, classes][..., classes])
            if not np.isnan(sd).all():
                lines.append(
                    f"Largest standard deviation of a cell over the seeds of {result.run}: "
                    f"{np.nanmax(sd):.1f} points."
                )
    return "\n".join(lines) + "\n"


def heatmaps(
    photo: Photo, logits: Logits, shown: str, scale: Scale, run: str, sign: str, how: str
) -> str:
    """What the columns are, their colours, and how photo and classes were chosen."""
    ends = f"{style.number(-1, 0)[0]}x to x, white at 0"
    colours = (
        f"All maps share one colour scale ({ends}, x the largest absolute logit shown)"
        if scale == "common"
        else f"Each column has a colour scale of its own ({ends}, x its largest absolute logit)"
    )
    biases = [name for name in ("Reference", "positional") if name in logits.parts]
    made = f"Query {sign} {f' {sign} '.join(biases)}"
    absent = [name for name in ("Reference", "positional") if name not in logits.parts]
    lines = [
        f"Logits of {shown} at every pixel of photo {photo.item.id} ({photo.split} split) by "
        f"{run}. The rectified logits are {made}. {colours}. Masks are the best class by the Query "
        "alone and by the rectified logits, without post-processing. Compare Fig. 3 of the paper.",
        how,
    ]
    if absent:
        lines.append(f"This run has no {absent[0]} logits.")
    return "\n".join(lines) + "\n"
