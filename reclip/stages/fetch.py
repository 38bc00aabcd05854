"""Stage `fetch`: find, check and unpack a dataset in its official layout."""

from __future__ import annotations

import os
from pathlib import Path

from reclip.common.files import write_json
from reclip.config.sources import PairedSource
from reclip.data.download.keep import own_files_kept
from reclip.data.download.sources import find_labels, find_photos
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish


def main(job: Job) -> None:
    """Write `source.json`: the data's `root`, and the place of `labels` from a second download."""
    source = job.settings["source"]
    downloads = Path(os.path.expanduser(job.environment["downloads"]))
    with own_files_kept(job.folder / "unpacked"), own_files_kept(job.folder / "labels"):
        root = find_photos(source, downloads, job.folder / "unpacked")
        found = {"root": root}
        if isinstance(source, PairedSource):
            found["labels"] = find_labels(source, root, downloads, job.folder / "labels")
    write_json(job.folder / "source.json", {role: str(path) for role, path in found.items()})
    finish(job, [job.folder / "source.json"], prune=False)
