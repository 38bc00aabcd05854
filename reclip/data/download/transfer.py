"""One address into one part: resumed where it broke off, retried while that may help, never stuck.

pooch's own downloaders keep nothing of one that fails; at 2 GB a file that is most of an evening.
"""

from __future__ import annotations

import logging
import re
import time
from itertools import chain

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError, NameResolutionError, ProtocolError, ReadTimeoutError

from reclip.data.download.official import RemoteFile
from reclip.data.download.part import Part

log = logging.getLogger(__name__)

# ours, all of them
CHUNK = 2**16  # bytes written at once
TIMEOUT = (10.0, 30.0)  # seconds to connect, and to wait for the next bytes
WAITS = (1.0, 3.0, 10.0)  # seconds before the second, third and last try
MAX_WAIT = 60.0  # seconds; a server that asks for more is left
PROGRESS = 2**20  # bytes; a try that brings so many starts the count of tries anew

PASSING = {408, 425, 429, 500, 502, 503, 504}


class Unavailable(Exception):
    """Why an address does not give the file, as the rest of a sentence that begins with it."""


class _Passing(Exception):
    """The same, where another try may go better, after `wait` seconds or more."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _Unreached(_Passing):
    """There was no connection at all."""


def transfer(url: str, remote: RemoteFile, part: Part) -> None:
    """Bring `part` to the whole of `remote`, from `url`, going on from what it holds.

    Whether it is the right file is for its checksum to say.

    Raises Unavailable; what has come stays in the part.
    """
    first = most = part.size
    failures = 0
    while True:
        try:
            return _attempt(url, remote, part)
        except _Passing as error:
            if isinstance(error, _Unreached) and part.size == first:
                raise Unavailable(str(error)) from error  # no network, or the host is gone
            if part.size >= most + PROGRESS:
                failures, most = 0, part.size
            if failures == len(WAITS):
                raise Unavailable(f"{error}, {failures + 1} times") from error
            wait = max(WAITS[failures], error.wait)
            failures += 1
            log.warning("%s %s: trying again in %.0f s", url, error, wait)
            time.sleep(wait)


def _attempt(url: str, remote: RemoteFile, part: Part) -> None:
    if remote.size is not None and part.size >= remote.size:
        if part.size == remote.size:
            return
        part.remove()
    version = part.version(url)
    if not version and not remote.checksum:
        part.remove()  # nothing would tell if the rest were of another version
    headers = {"Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if version:
            headers["If-Range"] = version
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416 and part.size:
                return _require_whole(response, remote, part)
            _require_success(response)
            _receive(response, url, remote, part)
    except (requests.RequestException, HTTPError) as error:
        raise _reason(error) from error


def _receive(response: requests.Response, url: str, remote: RemoteFile, part: Part) -> None:
    offset, total = _extent(response, part)
    if None not in (total, remote.size) and total != remote.size:
        raise Unavailable(f"has a file of {total:,} bytes in place of {remote.size:,}")
    total = remote.size if total is None else total
    if total is not None:
        part.require_room(total)
    # Raw: a server may call the packing of a .tar.gz an encoding, which would be taken off.
    chunks = response.raw.stream(CHUNK, decode_content=False)
    first = next(chunks, b"")
    if not offset:
        if first.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
            raise Unavailable("answers with a web page in place of the file")
        part.begin(url, _version(response))  # not before: a page must not cost what has come
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
        raise _Passing(f"breaks off after {offset:,} of {total:,} bytes")


def _require_success(response: requests.Response) -> None:
    status = response.status_code
    if status in PASSING:
        asked = response.headers.get("Retry-After", "")
        wait = float(asked) if asked.isdecimal() else 0.0
        if wait > MAX_WAIT:
            raise Unavailable(f"answers {status} and asks to come back in {wait:.0f} s")
        raise _Passing(f"answers {status}", wait)
    if status not in (200, 206):
        raise Unavailable(f"answers {status}")
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise Unavailable("answers with a web page in place of the file")


def _require_whole(response: requests.Response, remote: RemoteFile, part: Part) -> None:
    """416 says that nothing follows the part: it is whole, or of a longer file."""
    if remote.size is not None:
        raise Unavailable(f"has a file shorter than {remote.size:,} bytes")
    if response.headers.get("Content-Range", "").strip() != f"bytes */{part.size}":
        part.remove()
        raise _Passing("has a file shorter than what was kept of an earlier try")


def _extent(response: requests.Response, part: Part) -> tuple[int, int | None]:
    """(where the body begins, length of the whole file if the server says so)."""
    if response.status_code == 200:  # it ignores ranges, or its file is another one by now
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    found = re.fullmatch(
        r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
    )
    if not found or int(found[1]) != part.size:
        part.remove()
        raise _Passing("answers with another range than was asked for")
    return part.size, None if found[2] == "*" else int(found[2])


def _version(response: requests.Response) -> str | None:
    """What If-Range takes: a strong ETag, else the date of the last change."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _reason(error: Exception) -> Exception:
    cause = error.args[0] if error.args else None
    if isinstance(error, (requests.ReadTimeout, ReadTimeoutError)):
        return _Passing(f"sends nothing for {TIMEOUT[1]:.0f} s")
    if isinstance(getattr(cause, "reason", None), NameResolutionError):
        return _Unreached("has a host that is not known here (is there a network?)")
    if isinstance(error, requests.exceptions.SSLError):
        return _Unreached("does not prove who it is (its certificate does not hold)")
    if isinstance(error, requests.ConnectionError) and not isinstance(cause, ProtocolError):
        return _Unreached("cannot be reached")
    # Addresses that cannot be read are ValueErrors too.
    if isinstance(error, (ValueError, requests.TooManyRedirects)):
        return Unavailable(f"cannot be read ({type(error).__name__})")
    return _Passing("hangs up")
