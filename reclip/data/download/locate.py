"""Locate the file in a setting: a path, a `file:` URL, or a URL to download."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256, text_sha256
from reclip.data.download.mirrors import fetch_file
from reclip.data.download.official import RemoteFile

log = logging.getLogger(__name__)


def local_path(where: str) -> Path | None:
    """Return the local path in `where`, which may not exist; None for a URL to download.

    Raises ReclipError: the URL is invalid or of another kind.
    """
    try:
        parts = urlsplit(where)
    except ValueError:  # a host in odd brackets
        parts = urlsplit("unreadable://")
    if parts.scheme in ("http", "https"):
        return None
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(url2pathname(parts.path))
    if parts.scheme != "file" and "://" not in where:
        return Path(os.path.expanduser(where))
    raise ReclipError(
        f"params: '{where}' cannot be read: give a file, or a URL that begins with file:///, "
        f"http:// or https://"
    )


def local_or_download(where: str, sha256: str | None, folder: Path) -> Path:
    """Return the file at `where`, downloaded to `folder` if need be, with its checksum verified.

    Raises ReclipError: there is no such file, or its checksum is wrong.
    """
    path = local_path(where)
    if path is None:
        path = fetch_file(_remote(where, sha256), folder)
        if sha256 is None:
            log.warning(
                "%s was downloaded without a check, its sha256 is %s: write that into the params "
                "if it is the right file",
                where,
                file_sha256(path),
            )
        return path
    if not path.is_file():
        raise ReclipError(f"params: no file '{path}': change the dataset's source")
    require_sha256(path, sha256)
    return path


def require_sha256(path: Path, sha256: str | None) -> None:
    """Raise ReclipError if the file has another checksum than `sha256`; None accepts any."""
    if sha256 and (found := file_sha256(path)) != sha256.lower():
        raise ReclipError(
            f"'{path}' has sha256 {found}, params expect {sha256}: get the file again or write "
            f"its sum into the params"
        )


def _remote(url: str, sha256: str | None) -> RemoteFile:
    """Return the file at a user's URL; a digest of the URL keeps equal names apart."""
    last = re.sub(r"[^\w.-]", "_", unquote(urlsplit(url).path).rpartition("/")[2])
    checksum = f"sha256:{sha256.lower()}" if sha256 else None
    return RemoteFile(f"{text_sha256(url)[:8]}-{last}", (url,), checksum=checksum)
