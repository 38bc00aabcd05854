"""Stage `fetch`: a dataset in its official layout, checked, and unpacked under `raw/<dataset>`."""

from __future__ import annotations

import os
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import write_json
from reclip.config.sources import ArchiveSource, ContextSource
from reclip.data.download import official as remote
from reclip.data.download.locate import local_or_download, local_path, require_sha256
from reclip.data.download.mirrors import fetch_file
from reclip.data.download.unpack import unpack
from reclip.data.layouts import ade, context, voc
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish

# kind of source -> (official archive, what finds the data's root in an unpacked one)
KINDS = {
    "voc": (remote.VOC2012, voc.find_root),
    "context": (remote.VOC2010, context.find_root),
    "ade": (remote.ADE, ade.find_root),
}


def main(job: Job) -> None:
    """Write `source.json`: the data's `root`, and for Context where its `labels` are.

    Raises ReclipError: no such file or folder, a wrong checksum, a download that fails, an archive
    that is damaged or holds something else.
    """
    source = job.settings["source"]
    downloads = Path(os.path.expanduser(job.environment["downloads"]))
    found = {"root": _root(source, downloads, job.folder / "unpacked")}
    if source.kind == "context":
        found["labels"] = _labels(source, downloads, job.folder / "labels")
    write_json(job.folder / "source.json", {role: str(path) for role, path in found.items()})
    finish(job, [job.folder / "source.json"], prune=False)


def _root(source: ArchiveSource, downloads: Path, unpacked: Path) -> Path:
    """The folder of the photos; one that is named as such is used in place."""
    official, find_root = KINDS[source.kind]
    if source.folder:
        folder = Path(os.path.expanduser(source.folder))
        if folder.is_file():
            raise ReclipError(f"params: '{folder}' is a file: name it as source.archive")
        if not folder.is_dir():
            raise ReclipError(f"params: no folder '{folder}': change the dataset's source.folder")
        return find_root(folder)
    if source.archive:
        given = local_path(source.archive)
        if given is not None and given.is_dir():
            raise ReclipError(f"params: '{given}' is a folder: name it as source.folder")
        archive = local_or_download(source.archive, source.sha256, downloads)
    else:
        archive = fetch_file(official, downloads)
        require_sha256(archive, source.sha256)
    unpack(archive, unpacked)
    return find_root(unpacked)


def _labels(source: ContextSource, downloads: Path, unpacked: Path) -> Path:
    """Context's label maps: a json file, or a folder; only an archive is unpacked."""
    if source.labels is None:
        path = fetch_file(remote.CONTEXT_LABELS, downloads)
        require_sha256(path, source.labels_sha256)
        return path
    folder = local_path(source.labels)
    if folder is not None and folder.is_dir():
        if source.labels_sha256:
            raise ReclipError(
                f"params: '{folder}' is a folder, which has no checksum: take away the dataset's "
                f"source.labels_sha256, or name a file"
            )
        return folder
    path = local_or_download(source.labels, source.labels_sha256, downloads)
    if path.suffix == ".json":
        return path
    unpack(path, unpacked)
    return unpacked
