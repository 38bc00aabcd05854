"""Content digests of user files and folders; a change makes results stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reclip.common.hashing import cached_sha256
from reclip.config.sources import FolderSource
from reclip.data.photos import digest_of_photos

FOLDERS = ("images", "val_images", "val_labels")  # settings that name folders of the user


def digests_of_folders(source: FolderSource) -> dict[str, str]:
    """Return a digest of each folder of photos or labels; any added, lost or changed file shows."""
    named = {key: path for key in FOLDERS if (path := getattr(source, key))}
    limits = {"images": source.limit, "val_images": source.limit}
    return {k: digest_of_photos(p, f"source.{k}", limits.get(k)) for k, p in named.items()}


def given_files(source: Any) -> dict[str, str]:
    """Return the sha256 of the files that a source names, without URLs and missing files."""
    named = {key: getattr(source, key, None) for key in ("archive", "labels")}
    paths = {key: Path(where).expanduser() for key, where in named.items() if where}
    return {key: cached_sha256(path) for key, path in paths.items() if path.is_file()}
