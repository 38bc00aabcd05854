"""A local web server that misbehaves on request and counts the bytes that it sent."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal


@dataclass(frozen=True)
class Reply:
    """The reply to one request.

    Attributes:
        body: the whole file; ranges are taken from it.
        ranges: serve the requested range; if False, always the whole body.
        etag: the version of the body, for If-Range.
        cut: close the connection after this many bytes of the body.
        stall: send nothing after this many bytes, and keep the connection.
        length: the Content-Length to claim; -1: none.
        shift: begin a range this many bytes beside the requested place.
        headers: further headers.
        instead: "drop" the connection or keep "silence" instead of answering.
    """

    body: bytes = b""
    status: int = 200
    ranges: bool = True
    etag: str | None = None
    type: str = "application/octet-stream"
    cut: int | None = None
    stall: int | None = None
    length: int | None = None
    shift: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    instead: Literal["drop", "silence"] | None = None


@dataclass
class Request:
    """A request: its headers, and how many bytes of the body were sent."""

    range: str | None
    if_range: str | None
    sent: int = 0


class HostileServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a stalled reply must not hold up the end of a test

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: dict[str, list[Reply]] = {}
        self.requests: dict[str, list[Request]] = defaultdict(list)
        self.closing = threading.Event()

    def url(self, path: str, *replies: Reply) -> str:
        """Return the URL of `path`; requests get these replies in turn, then always the last."""
        self.replies[path] = list(replies)
        return f"http://127.0.0.1:{self.server_port}{path}"

    def sent(self, path: str) -> list[int]:
        """Return the bytes of the body that each request to `path` got."""
        return [request.sent for request in self.requests[path]]

    def handle_error(self, request, client_address) -> None:
        """Print no traceback when a client closes the connection."""


@contextmanager
def serving() -> Iterator[HostileServer]:
    server = HostileServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HostileServer

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        request = Request(self.headers.get("Range"), self.headers.get("If-Range"))
        self.server.requests[self.path].append(request)
        replies = self.server.replies[self.path]
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        self.close_connection = True
        if reply.instead:
            if reply.instead == "silence":
                self.server.closing.wait(30)
            return
        begin = self._begin(reply, request)
        if begin is None:
            body, status = reply.body, reply.status
        elif begin >= len(reply.body):
            body, status = b"", 416
        else:
            body, status = reply.body[begin + reply.shift :], 206
        self.send_response(status)
        self.send_header("Connection", "close")
        self.send_header("Content-Type", reply.type)
        if reply.length != -1:
            self.send_header("Content-Length", str(reply.length or len(body)))
        if reply.etag:
            self.send_header("ETag", reply.etag)
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(reply.body)}")
        elif status == 206:
            first, whole = begin + reply.shift, len(reply.body)
            self.send_header("Content-Range", f"bytes {first}-{whole - 1}/{whole}")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            self._send(reply, body, request)

    def _begin(self, reply: Reply, request: Request) -> int | None:
        """Return where the served range begins; None for the whole body."""
        wanted = re.fullmatch(r"bytes=(\d+)-", request.range or "")
        same = request.if_range is None or request.if_range == reply.etag
        return int(wanted[1]) if wanted and reply.ranges and reply.status == 200 and same else None

    def _send(self, reply: Reply, body: bytes, request: Request) -> None:
        ends = [end for end in (reply.cut, reply.stall) if end is not None]
        body = body[: min([*ends, len(body)])]
        request.sent = len(body)  # set before the client can finish
        self.wfile.write(body)
        self.wfile.flush()
        if reply.stall is not None:
            self.server.closing.wait(30)
