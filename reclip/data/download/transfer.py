"""Transfer one URL into a part file: resume broken transfers, and retry while that may help."""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import requests
from tqdm import tqdm
from urllib3 import HTTPResponse, Retry
from urllib3.exceptions import (
    HTTPError,
    InvalidHeader,
    NameResolutionError,
    ProtocolError,
    ReadTimeoutError,
)

from reclip.common.errors import ReclipError
from reclip.common.files import read_json, write_json
from reclip.data.download.official import RemoteFile

log = logging.getLogger(__name__)

# Our choices.
CHUNK = 2**16  # bytes written at once
TIMEOUT = (10.0, 30.0)  # seconds to connect, and to wait for the next bytes
WAITS = (1.0, 3.0, 10.0)  # seconds before the second, third and last try
MAX_WAIT = 60.0  # seconds; a server that asks for a longer wait is given up
PROGRESS = 2**20  # bytes; after this many new bytes, tries are counted from 0 again

BUSY = (408, 425, 429, 500, 502, 503, 504)  # status codes after which another try may succeed


class Unavailable(Exception):
    """Why a URL does not give the file: the rest of a sentence that begins with the URL."""


class _Broken(HTTPError):
    """A reply that is not usable, where another try may go better."""


class Part:
    """The first bytes of `<folder>/<name>`, kept in `.<name>.part` for the next try or call.

    A note beside it records their URL and version (ETag or date of the last change).
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / f".{name}.part"
        self.note = folder / f".{name}.part.json"

    @property
    def size(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def version(self, url: str) -> str | None:
        """Return the version of the file at `url` that the bytes are from; None if unknown."""
        try:
            note = read_json(self.note)
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
            return None
        return note["version"] if note["url"] == url else None

    def begin(self, url: str, headers: Mapping[str, str]) -> None:
        """Empty the part, and note the URL and version of its next bytes: strong ETag or date."""
        tag = headers.get("ETag", "")
        version = tag if tag.startswith('"') else headers.get("Last-Modified")
        self.file.write_bytes(b"")  # first: a kill must not leave old bytes with a new note
        write_json(self.note, {"url": url, "version": version})

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def require_space(self, size: int) -> None:
        """Raise ReclipError if the disk has no space for the rest of `size` bytes."""
        free, folder = shutil.disk_usage(self.file.parent).free, self.file.parent
        if size - self.size > free:
            raise ReclipError(
                f"'{folder}' has {free / 2**30:.1f} GiB free, the download needs "
                f"{(size - self.size) / 2**30:.1f} GiB: free some space or change `downloads`"
            )


class _Retry(Retry):
    """Ask a busy server again: after WAITS, or later if its Retry-After header says so."""

    def sleep(self, response: HTTPResponse) -> None:
        try:
            asked = self.get_retry_after(response) or 0.0
        except InvalidHeader:
            asked = 0.0
        if asked > MAX_WAIT:
            raise Unavailable(f"answers {response.status} and asks for a wait of {asked:.0f} s")
        _wait(f"answers {response.status}", max(WAITS[len(self.history) - 1], asked))


def _wait(reason: str, seconds: float) -> None:
    log.warning("the server %s: trying again in %.0f s", reason, seconds)
    time.sleep(seconds)


def transfer(url: str, remote: RemoteFile, part: Part) -> None:
    """Download the rest of `remote` from `url` into `part`.

    The caller verifies the checksum. After an error the part keeps its bytes.

    Raises Unavailable: the URL does not give the file.
    Raises ReclipError: the disk has no space for it.
    """
    first = most = part.size
    failures = 0
    retry = _Retry(
        len(WAITS), connect=0, read=False, other=0, status_forcelist=BUSY, raise_on_status=False
    )
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retry))
        while True:
            try:
                return _attempt(session, url, remote, part)
            except (requests.RequestException, HTTPError) as error:
                reason, connected = _explain(error)
                if not connected and part.size == first:
                    raise Unavailable(reason) from error  # no network, or the host is gone
                if part.size >= most + PROGRESS:
                    failures, most = 0, part.size
                if failures == len(WAITS):
                    raise Unavailable(f"{reason}, {failures + 1} times") from error
                _wait(reason, WAITS[failures])
                failures += 1


def _attempt(session: requests.Session, url: str, remote: RemoteFile, part: Part) -> None:
    if remote.size is not None and part.size >= remote.size:
        if part.size == remote.size:
            return
        part.remove()
    version = part.version(url)
    if not version and not remote.checksum:
        part.remove()  # the rest may be from another version, and no checksum would show it
    headers = {"Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if version:
            headers["If-Range"] = version
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416 and part.size:
            return _require_complete(response, remote, part)
        _require_success(response)
        _receive(response, url, remote, part)


def _receive(response: requests.Response, url: str, remote: RemoteFile, part: Part) -> None:
    offset, total = _extent(response, part)
    if None not in (total, remote.size) and total != remote.size:
        raise Unavailable(f"has a file of {total:,} bytes instead of {remote.size:,}")
    total = remote.size if total is None else total
    if total is not None:
        part.require_space(total)
    # Raw bytes: a server may call the compression of a .tar.gz an encoding, and requests would
    # decode it.
    chunks = response.raw.stream(CHUNK, decode_content=False)
    first = next(chunks, b"")
    if not offset:
        if first.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
            raise Unavailable("answers with a web page instead of the file")
        part.begin(url, response.headers)  # not earlier: a web page must not empty the part
    with (
        open(part.file, "ab") as stream,
        tqdm(
            desc=remote.name, total=total, initial=offset, unit="B", unit_scale=True, disable=None
        ) as bar,
    ):
        for chunk in chain([first], chunks):
            offset += stream.write(chunk)
            bar.update(len(chunk))
            if total is not None and offset > total:
                part.remove()
                raise Unavailable(f"sends more than the {total:,} bytes of the file")
    if total is not None and offset < total:
        raise _Broken(f"stops after {offset:,} of {total:,} bytes")


def _require_success(response: requests.Response) -> None:
    status = response.status_code
    if status not in (200, 206):
        times = f", {len(WAITS) + 1} times" if status in BUSY else ""
        raise Unavailable(f"answers {status}{times}")
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise Unavailable("answers with a web page instead of the file")


def _require_complete(response: requests.Response, remote: RemoteFile, part: Part) -> None:
    """Check a 416, which says that no byte follows the part: is it complete, or too long?"""
    if remote.size is not None:
        raise Unavailable(f"has a file shorter than {remote.size:,} bytes")
    if response.headers.get("Content-Range", "").strip() != f"bytes */{part.size}":
        part.remove()
        raise _Broken("has a file shorter than the part of an earlier try")


def _extent(response: requests.Response, part: Part) -> tuple[int, int | None]:
    """Return the offset of the body in the file, and the file's size if the server gives it."""
    if response.status_code == 200:  # the server ignores ranges, or the file has changed
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    found = re.fullmatch(
        r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
    )
    if not found or int(found[1]) != part.size:
        part.remove()
        raise _Broken("answers with another range than requested")
    return part.size, None if found[2] == "*" else int(found[2])


def _explain(error: Exception) -> tuple[str, bool]:
    """Return the error in words, without the URL, and whether there was a connection.

    Raises Unavailable: another try would fail in the same way.
    """
    cause = error.args[0] if error.args else None
    if isinstance(error, (requests.ReadTimeout, ReadTimeoutError)):
        return f"sends nothing for {TIMEOUT[1]:.0f} s", True
    if isinstance(getattr(cause, "reason", None), NameResolutionError):
        return "has an unknown host (is there a network?)", False
    if isinstance(error, requests.exceptions.SSLError):
        return "has no valid certificate", False
    if isinstance(error, requests.ConnectionError) and not isinstance(cause, ProtocolError):
        return "cannot be reached", False
    if isinstance(error, (ValueError, requests.TooManyRedirects)):  # ValueError: unreadable URLs
        raise Unavailable(f"cannot be read ({type(error).__name__})") from error
    return str(error) if isinstance(error, _Broken) else "closes the connection", True
