"""A file is located by path, file: URL or web address, and its checksum is verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from reclip.common.errors import ReclipError
from reclip.data.download.locate import local_or_download, local_path
from support.hostile_server import HostileServer, Reply, serving

DATA = b"some data " * 1000
SUM = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as running:
        yield running


def test_paths_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of/someone")
    assert local_path("a folder/50%20 #1.tar") == Path("a folder/50%20 #1.tar")
    assert local_path("~/a.tar") == Path("/home/of/someone/a.tar")


@pytest.mark.parametrize(
    "url", ["file:///a%20folder/gr%C3%B6%C3%9Fe.tar", "FILE://localhost/a%20folder/gr%c3%b6ße.tar"]
)
def test_file_urls_are_decoded(url: str) -> None:
    assert local_path(url) == Path("/a folder/größe.tar")


@pytest.mark.parametrize(
    "where", ["ftp://host/a.tar", "s3://bucket/a.tar", "file://host/share/a.tar", "http://[bad"]
)
def test_other_urls_are_one_sentence(where: str) -> None:
    with pytest.raises(ReclipError, match="give a file, or a URL that begins with file:///"):
        local_path(where)


@pytest.mark.parametrize("sha256", [None, SUM, SUM.upper()])
def test_a_local_file_is_used_in_place(tmp_path: Path, sha256: str | None) -> None:
    path = tmp_path / "a b.tar"
    path.write_bytes(DATA)
    assert local_or_download(path.as_uri(), sha256, tmp_path / "downloads") == path
    assert local_or_download(str(path), sha256, tmp_path / "downloads") == path
    assert not (tmp_path / "downloads").exists()


def test_another_checksum_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(DATA)
    with pytest.raises(ReclipError, match=f"has sha256 {SUM}, params expect {'0' * 64}"):
        local_or_download(str(tmp_path / "a.tar"), "0" * 64, tmp_path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    for where in ("nowhere.tar", "file:///no%20where.tar", str(tmp_path)):
        with pytest.raises(ReclipError, match="params: no file '.*': change"):
            local_or_download(where, None, tmp_path)


def test_a_web_address_is_downloaded_once_and_checked(tmp_path: Path, server, caplog) -> None:
    url = server.url("/path/data%20set.tar", Reply(DATA))
    path = local_or_download(url, SUM.upper(), tmp_path / "downloads")
    assert path.read_bytes() == DATA and path.parent == tmp_path / "downloads"
    assert path.name.endswith("-data_set.tar")
    assert local_or_download(url, SUM, tmp_path / "downloads") == path
    assert len(server.sent("/path/data%20set.tar")) == 1
    assert not caplog.records


def test_a_web_address_that_gives_another_file_is_one_sentence(tmp_path: Path, server) -> None:
    with pytest.raises(ReclipError, match=f"sha256:{SUM} instead of sha256:{'0' * 64}"):
        local_or_download(server.url("/a.tar", Reply(DATA)), "0" * 64, tmp_path)
    assert not list(tmp_path.glob("*a.tar"))


def test_without_a_checksum_the_one_found_is_shown(tmp_path: Path, server, caplog) -> None:
    local_or_download(server.url("/a.tar", Reply(DATA)), None, tmp_path)
    assert SUM in caplog.text and "write that into the params" in caplog.text


def test_without_a_checksum_equal_names_at_two_addresses_stay_apart(tmp_path: Path, server) -> None:
    one = local_or_download(server.url("/1/a.tar", Reply(b"one")), None, tmp_path)
    two = local_or_download(server.url("/2/a.tar?x=y", Reply(b"two")), None, tmp_path)
    assert (one.read_bytes(), two.read_bytes()) == (b"one", b"two")


@pytest.mark.parametrize("etag", [None, '"v"'])
def test_without_a_checksum_only_a_known_version_is_resumed(
    tmp_path: Path, server, monkeypatch, etag: str | None
) -> None:
    monkeypatch.setattr("reclip.data.download.transfer.CHUNK", 1000)
    monkeypatch.setattr("reclip.data.download.transfer.WAITS", (0.0,))
    cut = Reply(DATA, cut=4000, etag=etag)
    path = local_or_download(
        server.url("/a.tar", cut, Reply(DATA, etag=etag)), None, tmp_path / "downloads"
    )
    assert path.read_bytes() == DATA
    assert server.sent("/a.tar") == [4000, len(DATA) - 4000 if etag else len(DATA)]
