"""Stage `prepare`: index a dataset's photos and write its label maps (see `reclip.data.index`)."""

from __future__ import annotations

from reclip.common.files import read_json, result
from reclip.data.folder import prepare_folder
from reclip.data.prepare import prepare_photos, prepare_world, read_layout
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish


def main(job: Job) -> None:
    """Draw the scenes, or index the photos in place; write label maps and index to `job.folder`."""
    source = job.settings["source"]
    if source.kind == "world":
        outputs = prepare_world(source, job.folder)
    elif source.kind == "folder":
        outputs = prepare_folder(source, job.folder, job.environment["loaders"])
    else:
        found = job.inputs["raw"].folder / "source.json"
        with result(found):
            raw = read_json(found)
        outputs = prepare_photos(read_layout(source.kind, raw), source.limit, job.folder)
    finish(job, outputs)
