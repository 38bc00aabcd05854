"""Write a model's card: the README.md beside its weights, from the template card.md.j2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reclip.common.templates import fill
from reclip.inference.model_info import WEIGHTS, ModelInfo
from reclip.pipeline.job import Job


def model_card(
    info: ModelInfo, job: Job, facts: dict[str, Any], metrics: dict[str, Any] | None
) -> str:
    """Return the card in Markdown.

    facts: the dataset's classes.json. metrics: the run's metrics.json; None without labels.
    """
    seeds = metrics["seeds"] if metrics else []
    return fill(
        Path(__file__).with_suffix(".md.j2"),
        info=info,
        settings=job.settings,
        folder=job.folder.as_posix(),
        facts=facts,
        metrics=metrics,
        measured=next((s for s in seeds if s["seed"] == info.seed), None),
        classes=[[name.replace("|", r"\|") for name in names] for names in info.classes],
        weights=WEIGHTS,
        # A checkpoint's path would name the folders of the person who trained the model.
        trained=job.settings["trained"].model_dump(mode="json", exclude={"checkpoint"}),
    )
