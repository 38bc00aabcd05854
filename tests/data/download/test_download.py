"""Downloads survive bad servers and networks, and only the right file gets its name."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock

from reclip.common.errors import ReclipError
from reclip.data.download import transfer
from reclip.data.download.mirrors import fetch_file
from reclip.data.download.official import (
    ADE,
    CITYSCAPES_LABELS,
    CITYSCAPES_PHOTOS,
    COCO_STUFF,
    COCO_TRAIN,
    COCO_VAL,
    CONTEXT_LABELS,
    VOC2010,
    VOC2012,
    RemoteFile,
)
from support.hostile_server import HostileServer, Reply, serving
from support.needs import needs_dev_full

FILE = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
NAME = "data.tar"


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Set small chunks and short timeouts, without a proxy; record waits instead of waiting."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer, "CHUNK", 10_000)
    monkeypatch.setattr(transfer, "TIMEOUT", (2.0, 0.3))
    waited: list[float] = []
    monkeypatch.setattr(transfer.time, "sleep", waited.append)
    return waited


def remote(*urls: str, **changes) -> RemoteFile:
    facts = {"size": len(FILE), "checksum": "md5:" + hashlib.md5(FILE).hexdigest(), **changes}
    return RemoteFile(NAME, urls, **facts)


def names(folder: Path) -> set[str]:
    """Return the names in `folder` except the lock."""
    return {path.name for path in folder.iterdir()} - {f".{NAME}.lock"}


def keep(folder: Path, data: bytes) -> Path:
    """Write a part as an earlier call would leave it."""
    folder.mkdir(exist_ok=True)
    path = folder / f".{NAME}.part"
    path.write_bytes(data)
    return path


def sentence(call: Callable[[], object]) -> str:
    with pytest.raises(ReclipError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text and "Traceback" not in text
    return text


# Success.


def test_a_file_is_downloaded_and_nothing_else_is_left(tmp_path: Path, server) -> None:
    url = server.url("/file", Reply(FILE))
    path = fetch_file(remote(url), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / NAME and path.read_bytes() == FILE
    assert names(path.parent) == {NAME} and server.sent("/file") == [len(FILE)]


@pytest.mark.parametrize("size", [None, len(FILE)])
@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_every_checksum_algorithm_and_an_unknown_size_work(
    tmp_path: Path, server, algorithm: str, size: int | None
) -> None:
    url = server.url("/file", Reply(FILE, length=-1))
    checksum = f"{algorithm}:{hashlib.new(algorithm, FILE).hexdigest()}"
    fetch_file(remote(url, size=size, checksum=checksum), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE


def test_an_existing_file_is_used_without_the_network(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(FILE)
    assert fetch_file(remote("http://127.0.0.1:1/"), tmp_path) == tmp_path / NAME
    assert names(tmp_path) == {NAME}


def test_another_file_under_its_name_is_neither_used_nor_overwritten(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"mine")
    text = sentence(lambda: fetch_file(remote("http://127.0.0.1:1/"), tmp_path))
    assert hashlib.md5(b"mine").hexdigest() in text and hashlib.md5(FILE).hexdigest() in text
    assert str(tmp_path / NAME) in text and "delete it" in text
    assert (tmp_path / NAME).read_bytes() == b"mine"


def test_redirects_are_followed_with_the_range(tmp_path: Path, server) -> None:
    there = server.url("/there", Reply(FILE))
    here = server.url("/here", Reply(status=301, headers={"Location": there}))
    keep(tmp_path, FILE[:100_000])
    fetch_file(remote(here), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE and server.sent("/there") == [200_000]


def test_a_content_encoding_is_not_decoded(tmp_path: Path, server) -> None:
    url = server.url("/file", Reply(FILE, headers={"Content-Encoding": "x-gzip"}))
    fetch_file(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE


# Broken transfers are resumed.


def test_a_dropped_connection_is_resumed(tmp_path: Path, server, waits) -> None:
    url = server.url("/file", Reply(FILE, cut=100_000), Reply(FILE, cut=50_000), Reply(FILE))
    fetch_file(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE
    assert server.sent("/file") == [100_000, 50_000, 150_000]
    assert waits == list(transfer.WAITS[:2])


def test_a_stalled_transfer_is_resumed(tmp_path: Path, server) -> None:
    url = server.url("/file", Reply(FILE, stall=100_000), Reply(FILE))
    begun = time.monotonic()
    fetch_file(remote(url), tmp_path)
    assert time.monotonic() - begun < 5
    assert (tmp_path / NAME).read_bytes() == FILE and server.sent("/file") == [100_000, 200_000]


@pytest.mark.parametrize("reply", [Reply(FILE, stall=0), Reply(instead="silence")])
def test_a_server_that_never_answers_is_given_up(
    tmp_path: Path, server, monkeypatch, reply: Reply
) -> None:
    monkeypatch.setattr(transfer, "WAITS", (1.0,))
    silent, gone = server.url("/silent", reply), server.url("/gone", Reply(status=404))
    text = sentence(lambda: fetch_file(remote(silent, gone), tmp_path))
    assert f"{silent} sends nothing for" in text and len(server.requests["/silent"]) == 2
    fetch_file(remote(silent, server.url("/good", Reply(FILE))), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE


def test_a_server_that_closes_without_an_answer_is_asked_again(tmp_path: Path, server) -> None:
    fetch_file(remote(server.url("/file", Reply(instead="drop"), Reply(FILE))), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE


def test_a_body_shorter_than_its_content_length_is_resumed(tmp_path: Path, server) -> None:
    short = Reply(FILE[:200_000], length=len(FILE))
    fetch_file(remote(server.url("/file", short, Reply(FILE))), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE and server.sent("/file")[1] == 100_000


def test_a_short_body_without_content_length_is_resumed(tmp_path: Path, server) -> None:
    url = server.url("/file", Reply(FILE, cut=200_000, length=-1), Reply(FILE))
    fetch_file(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE and server.sent("/file") == [200_000, 100_000]


def test_a_later_call_resumes_an_earlier_one(tmp_path: Path, server) -> None:
    url = server.url("/file", Reply(FILE, cut=100_000), *[Reply(status=503)] * 3, Reply(status=503))
    text = sentence(lambda: fetch_file(remote(url), tmp_path))
    assert "run again to resume" in text
    assert (tmp_path / f".{NAME}.part").read_bytes() == FILE[:100_000]
    assert not (tmp_path / NAME).exists()
    server.url("/file", Reply(FILE))
    fetch_file(remote(url), tmp_path)
    assert server.sent("/file")[-1] == 200_000 and names(tmp_path) == {NAME}
    assert (tmp_path / NAME).read_bytes() == FILE


def test_tries_are_counted_from_0_again_after_progress(tmp_path: Path, server, monkeypatch) -> None:
    monkeypatch.setattr(transfer, "PROGRESS", 20_000)
    url = server.url("/file", *[Reply(FILE, cut=20_000)] * 14, Reply(FILE))
    fetch_file(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE


def test_tries_end_without_enough_progress(tmp_path: Path, server, waits) -> None:
    url = server.url("/file", Reply(FILE, cut=10_000))
    text = sentence(lambda: fetch_file(remote(url), tmp_path))
    assert "4 times" in text and waits == list(transfer.WAITS)


def test_a_server_that_ignores_ranges_starts_over(tmp_path: Path, server) -> None:
    url = server.url("/file", Reply(FILE, cut=100_000), Reply(FILE, ranges=False))
    fetch_file(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE
    assert server.sent("/file") == [100_000, len(FILE)]


def test_a_server_that_answers_another_range_starts_over(tmp_path: Path, server) -> None:
    url = server.url("/file", Reply(FILE, cut=100_000), Reply(FILE, shift=7), Reply(FILE))
    fetch_file(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE
    assert server.requests["/file"][2].range is None


def test_a_part_longer_than_the_file_starts_over(tmp_path: Path, server) -> None:
    keep(tmp_path, FILE + b"more")
    for size in (len(FILE), None):  # known beforehand, or told by the server (416)
        keep(tmp_path, FILE + b"more")
        fetch_file(remote(server.url("/file", Reply(FILE)), size=size), tmp_path)
        assert (tmp_path / NAME).read_bytes() == FILE
        (tmp_path / NAME).unlink()


@pytest.mark.parametrize("size", [len(FILE), None])
def test_a_complete_part_is_not_sent_again(tmp_path: Path, server, size) -> None:
    keep(tmp_path, FILE)
    fetch_file(remote(server.url("/file", Reply(FILE)), size=size), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE and sum(server.sent("/file")) == 0


def test_bytes_of_two_versions_are_not_joined(tmp_path: Path, server) -> None:
    old = Reply(OTHER, cut=100_000, etag='"old"')
    url = server.url("/file", old, Reply(FILE, etag='"new"'))
    fetch_file(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE
    assert server.requests["/file"][1].if_range == '"old"'
    assert server.sent("/file") == [100_000, len(FILE)]


def test_an_unchanged_file_is_resumed_by_its_etag(tmp_path: Path, server) -> None:
    url = server.url("/file", Reply(FILE, cut=100_000, etag='"v"'), Reply(FILE, etag='"v"'))
    fetch_file(remote(url), tmp_path)
    assert server.requests["/file"][1].if_range == '"v"' and server.sent("/file")[1] == 200_000


def test_a_mirror_resumes_another_without_its_etag(tmp_path: Path, server) -> None:
    gone = [Reply(FILE, cut=100_000, etag='"a"'), Reply(status=404)]
    urls = server.url("/a", *gone), server.url("/b", Reply(FILE, etag='"b"'))
    fetch_file(remote(*urls), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE and server.sent("/b") == [200_000]
    assert server.requests["/b"][0].if_range is None


def test_bytes_of_a_bad_mirror_do_not_spoil_a_good_one(tmp_path: Path, server) -> None:
    bad = [Reply(OTHER, cut=100_000), Reply(status=404)]
    urls = server.url("/bad", *bad), server.url("/good", Reply(FILE))
    fetch_file(remote(*urls), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE
    assert server.sent("/good") == [200_000, len(FILE)]


def test_the_next_process_resumes_a_killed_download(tmp_path: Path, server) -> None:
    url = server.url("/file", Reply(FILE, stall=200_000), Reply(FILE))
    script = (
        "import sys; from pathlib import Path; "
        "from reclip.data.download import official, transfer; "
        "from reclip.data.download.mirrors import fetch_file; transfer.CHUNK = 10_000; "
        "fetch_file(official.RemoteFile(*sys.argv[1:2], tuple(sys.argv[2:3]), int(sys.argv[3]), "
        "sys.argv[4]), Path(sys.argv[5]))"
    )
    wanted = remote(url)
    args = [NAME, url, str(wanted.size), str(wanted.checksum), str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-c", script, *args])
    kept = tmp_path / f".{NAME}.part"
    deadline = threading.Event()
    for _ in range(1000):
        if kept.exists() and kept.stat().st_size == 200_000:
            break
        deadline.wait(0.02)  # time.sleep is taken over
    process.kill()
    assert process.wait() == -9 and kept.read_bytes() == FILE[:200_000]
    assert not (tmp_path / NAME).exists()
    fetch_file(wanted, tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE and server.sent("/file")[1] == 100_000
    assert names(tmp_path) == {NAME}


def test_an_interrupted_download_is_resumed(tmp_path: Path, server, monkeypatch) -> None:
    url = server.url("/file", Reply(FILE, cut=100_000), Reply(FILE))

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(transfer.time, "sleep", interrupt)
        fetch_file(remote(url), tmp_path)
    assert names(tmp_path) == {f".{NAME}.part", f".{NAME}.part.json"}
    fetch_file(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE and server.sent("/file")[1] == 200_000


# Servers that are busy, gone, or send another file.


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(tmp_path: Path, server, waits, status: int) -> None:
    fetch_file(remote(server.url("/file", Reply(status=status), Reply(FILE))), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE and waits == [transfer.WAITS[0]]


def test_retry_after_is_respected(tmp_path: Path, server, waits) -> None:
    busy = Reply(status=503, headers={"Retry-After": "7"})
    fetch_file(remote(server.url("/file", busy, Reply(FILE))), tmp_path)
    assert waits == [7]


def test_a_server_with_a_long_retry_after_is_given_up(tmp_path: Path, server, waits) -> None:
    busy = Reply(status=503, headers={"Retry-After": "3600"})
    fetch_file(remote(server.url("/busy", busy), server.url("/good", Reply(FILE))), tmp_path)
    assert waits == [] and len(server.sent("/busy")) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451])
def test_a_file_that_is_gone_is_not_asked_for_again(tmp_path: Path, server, status: int) -> None:
    gone = server.url("/gone", Reply(status=status))
    fetch_file(remote(gone, server.url("/good", Reply(FILE))), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE and len(server.sent("/gone")) == 1


PAGE = b"\n <!DOCTYPE html><p>Please log in"
WRONG = {
    "corrupted": (Reply(OTHER), "gives another file"),
    "of another length": (Reply(FILE + b"x"), "has a file of 300,001 bytes instead of 300,000"),
    "endless": (Reply(FILE + FILE, length=-1), "sends more than the 300,000 bytes"),
    "a page by its type": (Reply(PAGE, ranges=False, type="text/html; charset=x"), "a web page"),
    "a page by its bytes": (Reply(PAGE, ranges=False, length=-1), "a web page"),
    "a loop": (Reply(status=302, headers={"Location": "/file"}), "TooManyRedirects"),
    "a file of its own": (Reply(status=302, headers={"Location": "file:///etc/passwd"}), "Invalid"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_answer_is_reported_and_not_kept(tmp_path: Path, server, waits, case: str) -> None:
    reply, words = WRONG[case]
    text = sentence(lambda: fetch_file(remote(server.url("/file", reply)), tmp_path))
    assert words in text and names(tmp_path) == set()
    assert waits == []  # it would be the same again


@pytest.mark.parametrize("case", WRONG)
def test_another_mirror_replaces_a_wrong_answer(tmp_path: Path, server, case: str) -> None:
    urls = server.url("/file", WRONG[case][0]), server.url("/good", Reply(FILE))
    fetch_file(remote(*urls), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE and names(tmp_path) == {NAME}


def test_a_mirror_with_a_shorter_file_does_not_empty_the_part(tmp_path: Path, server) -> None:
    keep(tmp_path, FILE[:100_000])
    urls = server.url("/short", Reply(OTHER[:50_000])), server.url("/good", Reply(FILE))
    fetch_file(remote(*urls), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE and server.sent("/good") == [200_000]


@pytest.mark.parametrize("case", ["a page by its type", "a page by its bytes"])
def test_a_web_page_does_not_empty_the_part(tmp_path: Path, server, case: str) -> None:
    kept = keep(tmp_path, FILE[:100_000])
    sentence(lambda: fetch_file(remote(server.url("/file", WRONG[case][0])), tmp_path))
    assert kept.read_bytes() == FILE[:100_000]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/file", "http://nowhere.invalid/file"])
def test_an_unreachable_host_is_given_up_at_once(tmp_path: Path, server, waits, url) -> None:
    fetch_file(remote(url, server.url("/good", Reply(FILE))), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE and waits == []


def test_a_lost_network_is_waited_for(tmp_path: Path, server, waits) -> None:
    gone = Reply(status=302, headers={"Location": "http://127.0.0.1:1/file"})
    url = server.url("/file", Reply(FILE, cut=100_000), gone, gone, Reply(FILE))
    fetch_file(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE and waits == list(transfer.WAITS)


def test_the_error_names_every_mirror_and_what_to_do(tmp_path: Path, server) -> None:
    urls = [
        server.url("/gone", Reply(status=404)),
        server.url("/page", Reply(b"<html>", type="text/html")),
        server.url("/broken", Reply(FILE, cut=10_000)),
        "http://127.0.0.1:1/closed",
        "http://nowhere.invalid/file",
    ]
    text = sentence(lambda: fetch_file(remote(*urls), tmp_path))
    for url, reason in zip(
        urls, ["answers 404", "a web page", "stops after|closes", "reached", "host"], strict=True
    ):
        said = text[text.index(url) :]
        assert any(word in said[: len(url) + 80] for word in reason.split("|"))
    assert f"download {NAME} by other means and put it into '{tmp_path}'" in text
    assert "name it as source.archive" in text


# The disk.


def test_the_free_space_is_checked_before_any_request(tmp_path: Path, server, monkeypatch) -> None:
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: SimpleNamespace(free=150_000))
    url = server.url("/file", Reply(FILE))
    assert "free some space" in sentence(lambda: fetch_file(remote(url), tmp_path))
    assert server.sent("/file") == []
    keep(tmp_path, FILE[:200_000])  # what is there needs no room
    fetch_file(remote(url), tmp_path)
    assert (tmp_path / NAME).read_bytes() == FILE


def test_a_size_that_only_the_server_knows_is_checked_too(
    tmp_path: Path, server, monkeypatch
) -> None:
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda path: SimpleNamespace(free=150_000))
    url = server.url("/file", Reply(FILE))
    assert "free some space" in sentence(lambda: fetch_file(remote(url, size=None), tmp_path))


@needs_dev_full
def test_a_full_disk_is_one_sentence(tmp_path: Path, server) -> None:
    (tmp_path / f".{NAME}.part").symlink_to("/dev/full")
    text = sentence(lambda: fetch_file(remote(server.url("/file", Reply(FILE))), tmp_path))
    assert "the disk is full" in text and str(tmp_path / NAME) in text


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = sentence(lambda: fetch_file(remote("http://127.0.0.1:1/"), tmp_path / "file"))
    assert "change `downloads`" in text


def test_two_processes_that_want_one_file_download_it_once(tmp_path: Path, server, caplog) -> None:
    caplog.set_level(logging.INFO)
    url = server.url("/file", Reply(FILE))
    lock = FileLock(tmp_path / f".{NAME}.lock")
    with lock:
        thread = threading.Thread(target=fetch_file, args=(remote(url), tmp_path))
        thread.start()
        for _ in range(500):
            if "waiting for another process" in caplog.text:
                break
            threading.Event().wait(0.01)
        assert thread.is_alive() and server.sent("/file") == []
        (tmp_path / NAME).write_bytes(FILE)  # the other process is done
    thread.join(5)
    assert not thread.is_alive() and server.sent("/file") == []


# The table.


MIRRORED = [VOC2012, VOC2010, CONTEXT_LABELS, ADE, COCO_TRAIN, COCO_VAL]
WITH_LOGIN = [CITYSCAPES_PHOTOS, CITYSCAPES_LABELS]


@pytest.mark.parametrize("official", MIRRORED)
def test_each_official_file_has_mirrors(official: RemoteFile) -> None:
    assert len(official.urls) == len(set(official.urls)) >= 2
    assert all(url.endswith("/" + official.name) for url in official.urls)


def test_a_file_without_a_checksum_has_no_mirror() -> None:
    assert COCO_STUFF.checksum is None and len(COCO_STUFF.urls) == 1


@pytest.mark.parametrize("official", WITH_LOGIN)
def test_a_file_that_needs_a_login_is_got_by_hand(tmp_path: Path, official: RemoteFile) -> None:
    folder = tmp_path / "downloads"
    text = sentence(lambda: fetch_file(official, folder))
    for words in (official.name, official.page, str(folder), f"as {official.setting}"):
        assert words in text
    assert not folder.exists()


@pytest.mark.parametrize("official", MIRRORED + WITH_LOGIN)
def test_a_checksum_is_one(official: RemoteFile) -> None:
    algorithm, _, digits = official.checksum.partition(":")
    assert len(bytes.fromhex(digits)) == hashlib.new(algorithm).digest_size
