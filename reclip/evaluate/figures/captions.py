"""The captions of `reclip figure`: definitions, numbers and choices, as plain text."""

from __future__ import annotations

import numpy as np

from reclip.evaluate.figures.comparison import Result, mean_and_sd, row_shares
from reclip.evaluate.figures.heatmaps import Logits, Photo, Scale


def _named(results: list[Result]) -> str:
    """Return the runs and the number of values behind each mean."""
    counts = ((result.run, len(result.confusion)) for result in results)
    said = (f"{run} ({count} seed{'s' * (count > 1)})" for run, count in counts)
    return f"Runs: {', '.join(said)}.\n"


def distance(dataset: str, results: list[Result]) -> str:
    """Return the definition, and a line a bin: its objects, each run's mean and deviation."""
    edges, objects, _ = results[0].distance
    text = (
        f"mIoU on {dataset}'s val split by how far an object lies from the centre of its image. "
        "An object is the region of one class in one image. Its distance is that of its centroid "
        "from the image's centre, over half the diagonal: 0 is the centre, 1 a corner. "
        "Intersections and unions are added up by class and by bin, and the mean is over the "
        "classes with an object in the bin. Lines are means over seeds, bands one standard "
        "deviation (n - 1); a single value has none. Bars are the number of objects: where there "
        "are few, the mIoU says little. Compare Fig. 1 (a) of the paper, whose definition is not "
        f"published: this one is ours.\n{_named(results)}"
        f"distance, objects, {', '.join(f'{r.run} (mIoU in %)' for r in results)}\n"
    )
    columns = [(*mean_and_sd(r.distance[2]), len(r.distance[2]) > 1) for r in results]
    for k, count in enumerate(objects):
        cells = [
            "-" if np.isnan(mean[k]) else f"{mean[k]:.1f}" + (f" ± {sd[k]:.1f}" if several else "")
            for mean, sd, several in columns
        ]
        text += f"{edges[k]:.3f} to {edges[k + 1]:.3f}, {count}, {', '.join(cells)}\n"
    return text


def confusion(dataset: str, results: list[Result], classes: list[int], chosen: str) -> str:
    """Return the definition, the choice of classes, and the largest deviation over seeds."""
    text = (
        f"Where the pixels of {len(classes)} classes of {dataset}'s val split go, in % of each "
        'true class\'s pixels; "any other" is every class that is not shown, if any, so that rows '
        "add up to 100. Mean over seeds; a dash or an empty row is a class without pixels. Compare "
        f"Fig. 1 (b) of the paper.\nClasses: {chosen}.\n{_named(results)}"
    )
    for result in (r for r in results if len(r.confusion) > 1):
        _, sd = mean_and_sd(row_shares(result.confusion)[:, classes][..., classes])
        if not np.isnan(sd).all():
            text += (
                f"Largest standard deviation of a cell over the seeds of {result.run}: "
                f"{np.nanmax(sd):.1f} points.\n"
            )
    return text


def heatmaps(
    photo: Photo, logits: Logits, shown: str, scale: Scale, run: str, sign: str, how: str
) -> str:
    """Return the meaning of the columns and colours, and the choice of photo and classes.

    how: the choice, in sentences. sign: of the biases in the rectified logits.
    """
    ends = "−x to x, white at 0, x"
    colours = {
        "common": f"All maps share one colour scale ({ends} the largest absolute logit shown)",
        "own": f"Each column has a colour scale of its own ({ends} its largest absolute logit)",
    }[scale]
    biases = ("Reference", "positional")
    made = f" {sign} ".join(["Query", *(name for name in biases if name in logits.parts)])
    absent = [f"This run has no {name} logits.\n" for name in biases if name not in logits.parts]
    return (
        f"Logits of {shown} at every pixel of photo {photo.item.id} ({photo.split} split) by "
        f"{run}. The rectified logits are {made}. {colours}. Masks are the best class by the Query "
        f"alone and by the rectified logits, without post-processing. Compare Fig. 3 of the paper."
        f"\n{how}\n{''.join(absent[:1])}"
    )
