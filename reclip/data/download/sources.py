"""Find the photos and labels of a dataset in its official layout; download and unpack if needed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.config.sources import ArchiveSource, PairedSource
from reclip.data.download import official
from reclip.data.download.locate import local_or_download, local_path, require_sha256
from reclip.data.download.mirrors import fetch_file, require_at_hand
from reclip.data.download.official import RemoteFile
from reclip.data.download.unpack import unpack
from reclip.data.layouts import ade, cityscapes, coco_stuff, context, voc

log = logging.getLogger(__name__)


class Origin(NamedTuple):
    """The official files of a kind of source, and how its data is found in folders."""

    photos: tuple[RemoteFile, ...]  # archives, unpacked into one folder
    find_root: Callable[[Path], Path]  # in the folder of the photos
    labels: RemoteFile | None = None  # of a PairedSource
    labels_beside: Callable[[Path], Path | None] = lambda _: None  # a root's folder of labels


COCO_STUFF = Origin(
    (official.COCO_TRAIN, official.COCO_VAL),
    coco_stuff.find_root,
    official.COCO_STUFF,
    coco_stuff.labels_beside,
)
KINDS = {
    "voc": Origin((official.VOC2012,), voc.find_root),
    "context": Origin((official.VOC2010,), context.find_root, official.CONTEXT_LABELS),
    "ade": Origin((official.ADE,), ade.find_root),
    "cityscapes": Origin(
        (official.CITYSCAPES_PHOTOS,),
        cityscapes.find_root,
        official.CITYSCAPES_LABELS,
        cityscapes.labels_beside,
    ),
    "coco-stuff-27": COCO_STUFF,
    "coco-stuff-171": COCO_STUFF,
}


def find_photos(source: ArchiveSource, downloads: Path, unpacked: Path) -> Path:
    """Return the root of the data: in `source.folder`, or in archives unpacked to `unpacked`.

    Raises ReclipError: the file or folder is missing, its checksum is wrong, the download fails or
    needs a login, or the archive is damaged or holds other data.
    """
    origin = KINDS[source.kind]
    if source.folder:
        folder = Path(os.path.expanduser(source.folder))
        if folder.is_file():
            raise ReclipError(f"params: '{folder}' is a file: name it as source.archive")
        if not folder.is_dir():
            raise ReclipError(f"params: no folder '{folder}': change the dataset's source.folder")
        return origin.find_root(folder)
    if source.archive:
        if (given := local_path(source.archive)) and given.is_dir():
            raise ReclipError(f"params: '{given}' is a folder: name it as source.folder")
        archives = [local_or_download(source.archive, source.sha256, downloads)]
    else:
        # All at once: a person who must get one file by hand should hear of the other, too.
        needs_labels = isinstance(source, PairedSource) and not source.labels
        labels = [file for file in [origin.labels] if file and needs_labels]
        require_at_hand([*origin.photos, *labels], downloads)
        archives = [_official(file, source.sha256, downloads) for file in origin.photos]
    unpack(archives[0], unpacked, *archives[1:])
    return origin.find_root(unpacked)


def find_labels(source: PairedSource, root: Path, downloads: Path, unpacked: Path) -> Path:
    """Return the labels: a json file or a folder of label maps. Only an archive is unpacked.

    root: of the photos.
    Raises ReclipError: as `find_photos`.
    """
    origin = KINDS[source.kind]
    if source.labels:
        folder = local_path(source.labels)
    else:
        folder = origin.labels_beside(root) if source.folder else None
    if folder and folder.is_dir():
        if source.labels_sha256:
            raise ReclipError(
                f"params: '{folder}' is a folder, which has no checksum: remove the dataset's "
                f"source.labels_sha256, or name a file"
            )
        return folder
    if source.labels:
        path = local_or_download(source.labels, source.labels_sha256, downloads)
    else:
        path = _official(origin.labels, source.labels_sha256, downloads)
    if path.suffix == ".json":
        return path
    unpack(path, unpacked)
    return unpacked


def _official(file: RemoteFile, sha256: str | None, downloads: Path) -> Path:
    """Return an official file in `downloads`, its published checksum and `sha256` verified."""
    path = fetch_file(file, downloads)
    require_sha256(path, sha256)
    if file.checksum is None and sha256 is None:
        log.warning(
            "no checksum of %s is published, so it was not checked; its sha256 is %s: write that "
            "into the params if it is the right file",
            path,
            file_sha256(path),
        )
    return path
