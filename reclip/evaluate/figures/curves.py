"""Training curves of rectification and distillation."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from reclip.evaluate.figures import style
from reclip.evaluate.figures.comparison import Comparison

PANELS = {"rectified": "rectification", "distilled": "distillation"}


def epoch_means(epochs: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each epoch's last step (E,) and mean loss (S, E), from steps (T,) and (S, T)."""
    starts = np.flatnonzero(np.diff(epochs, prepend=-1))
    lengths = np.diff(starts, append=len(epochs))
    return starts + lengths - 1, np.add.reduceat(losses, starts, axis=1) / lengths


def draw(comparisons: list[Comparison]) -> Figure:
    """Draw a panel a stage: every step's loss (first seed, faint), each seed's mean an epoch.

    Dashed is the loss on held-out photos, the mean over seeds, where there are any.
    """
    figure, held_out = Figure(figsize=(style.WIDTH, 3.2)), False
    for ax, (role, title) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        for comparison, colour in zip(comparisons, style.DATASET_COLOURS, strict=False):
            if role not in comparison.results:
                continue
            result = comparison.results[role]
            epochs, losses = result.curves
            ax.plot(losses[0], color=colour, lw=0.5, alpha=0.3)
            steps, means = epoch_means(epochs, losses)
            labels = [result.run, *[None] * (len(means) - 1)]
            ax.plot(steps, means.T, color=colour, lw=1.2, label=labels)
            if result.held_out is not None:
                ax.plot(steps, result.held_out.mean(axis=0), color=colour, lw=1.2, ls="--")
                held_out = True
        if ax.lines:
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)
        else:
            ax.text(0.5, 0.5, "no such run", transform=ax.transAxes, ha="center", color=style.NOTE)
        ax.set(xlabel="step", ylabel="loss", title=title)
    if held_out:
        style.note(figure, "dashed: photos that do not train")
    return figure
