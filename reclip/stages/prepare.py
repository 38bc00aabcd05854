"""Stage `prepare`: index a dataset's photos and write its label maps (see `reclip.data.index`)."""

from __future__ import annotations

from reclip.common.files import read_json, result
from reclip.common.tables import read_table
from reclip.data.folder import WARNINGS, WARNINGS_COLUMNS, prepare_folder
from reclip.data.prepare import (
    prepare_photos,
    prepare_world,
    read_again,
    read_layout,
    rename_classes,
)
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish

SHOWN_WARNINGS = 5  # in the receipt; the file has all of them


def main(job: Job) -> None:
    """Draw the scenes, or index the photos in place; write label maps and index to `job.folder`.

    A dataset `of` another gets a copy of its index, and shares its photos and label maps.
    """
    warnings: list[str] = []
    source = job.settings.get("source")
    if "of" in job.inputs:
        outputs = read_again(job.inputs["of"].folder, job.folder)
    elif source.kind == "world":
        outputs = prepare_world(source, job.folder)
    elif source.kind == "folder":
        outputs = prepare_folder(source, job.folder, job.environment["loaders"])
        warnings = _warnings(job)
    else:
        found = job.inputs["raw"].folder / "source.json"
        with result(found):
            raw = read_json(found)
        outputs = prepare_photos(read_layout(source.kind, raw), source.limit, job.folder)
    if protocol := job.settings.get("names"):
        rename_classes(job.folder, protocol)
    finish(job, outputs, notes={"warnings": warnings} if warnings else None)


def _warnings(job: Job) -> list[str]:
    """Return the first warnings about a person's photos and label maps, and how many follow."""
    path = job.folder / WARNINGS
    said = [row["warning"] for row in read_table(path, WARNINGS_COLUMNS)]
    more = len(said) - SHOWN_WARNINGS
    return said[:SHOWN_WARNINGS] + [f"{more} more warnings are in '{path}'"] * (more > 0)
