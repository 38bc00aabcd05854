"""Find the photos and labels of a dataset in its official layout; download and unpack if needed."""

from __future__ import annotations

import os
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.config.sources import ArchiveSource, ContextSource
from reclip.data.download import official
from reclip.data.download.locate import local_or_download, local_path, require_sha256
from reclip.data.download.mirrors import fetch_file
from reclip.data.download.unpack import unpack
from reclip.data.layouts import ade, context, voc

# kind of source -> (official archive, function that finds the data's root in a folder)
KINDS = {
    "voc": (official.VOC2012, voc.find_root),
    "context": (official.VOC2010, context.find_root),
    "ade": (official.ADE, ade.find_root),
}


def find_photos(source: ArchiveSource, downloads: Path, unpacked: Path) -> Path:
    """Return the root of the data: in `source.folder`, or in an archive unpacked to `unpacked`.

    Raises ReclipError: the file or folder is missing, its checksum is wrong, the download fails,
    or the archive is damaged or holds other data.
    """
    archive, find_root = KINDS[source.kind]
    if source.folder:
        folder = Path(os.path.expanduser(source.folder))
        if folder.is_file():
            raise ReclipError(f"params: '{folder}' is a file: name it as source.archive")
        if not folder.is_dir():
            raise ReclipError(f"params: no folder '{folder}': change the dataset's source.folder")
        return find_root(folder)
    if source.archive and (given := local_path(source.archive)) and given.is_dir():
        raise ReclipError(f"params: '{given}' is a folder: name it as source.folder")
    unpack(_file(source.archive, archive, source.sha256, downloads), unpacked)
    return find_root(unpacked)


def find_labels(source: ContextSource, downloads: Path, unpacked: Path) -> Path:
    """Return Context's label maps: a json file or a folder. Only an archive is unpacked.

    Raises ReclipError: as `find_photos`.
    """
    folder = local_path(source.labels) if source.labels else None
    if folder and folder.is_dir():
        if source.labels_sha256:
            raise ReclipError(
                f"params: '{folder}' is a folder, which has no checksum: remove the dataset's "
                f"source.labels_sha256, or name a file"
            )
        return folder
    path = _file(source.labels, official.CONTEXT_LABELS, source.labels_sha256, downloads)
    if path.suffix == ".json":
        return path
    unpack(path, unpacked)
    return unpacked


def _file(
    where: str | None, default: official.RemoteFile, sha256: str | None, downloads: Path
) -> Path:
    """Return the file at `where`, or without it the official file, its checksum verified."""
    if where:
        return local_or_download(where, sha256, downloads)
    path = fetch_file(default, downloads)
    require_sha256(path, sha256)
    return path
