"""An archive is unpacked whole or not at all, into its folder only, and never more than it may."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from reclip.common.errors import ReclipError
from reclip.data.download import unpack as module
from reclip.data.download.unpack import unpack
from support.make_archives import (
    cut,
    flipped,
    header,
    special,
    tar_of,
    zip_link,
    zip_of,
    zip_patched,
)
from support.needs import needs_dev_full

NOISE = {"a.bin": np.random.default_rng(0).bytes(50_000)}
MEMBERS = {"a.txt": b"one" * 1000, "sub/b.txt": b"two" * 1000}
FIRST = 512 + 3072  # what the first of MEMBERS takes in a tar


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def refused(archive: Path, words: str) -> str:
    """Return the error; check that it names the archive and that nothing was left behind."""
    out = archive.parent / "out"
    with pytest.raises(ReclipError, match=words) as caught:
        unpack(archive, out / "unpacked")
    text = str(caught.value)
    assert str(archive) in text and "\n" not in text and "\0" not in text
    assert not out.exists() or list(out.iterdir()) == []
    assert {p.name for p in archive.parent.iterdir()} <= {archive.name, "out"}
    return text


# What is unpacked.


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip", "stored zip"])
def test_an_archive_is_unpacked(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "archive"  # what it is, its bytes say
    if kind == "zip":
        zip_of(path, MEMBERS | NOISE)
    elif kind == "stored zip":
        zip_of(path, MEMBERS | NOISE, zipfile.ZIP_STORED)
    else:
        tar_of(path, MEMBERS | NOISE, "w:" + kind.removeprefix("tar").removeprefix("."))
    unpack(path, tmp_path / "out" / "unpacked")
    assert names(tmp_path / "out") == [
        "unpacked/a.bin",
        "unpacked/a.txt",
        "unpacked/sub/b.txt",
    ]
    for name, data in (MEMBERS | NOISE).items():
        assert (tmp_path / "out/unpacked" / name).read_bytes() == data


def test_several_archives_are_unpacked_into_one_folder_or_none_is(tmp_path: Path) -> None:
    one = zip_of(tmp_path / "1.zip", {"README": b"1", "photos/a.png": b"photo"})
    two = zip_of(tmp_path / "2.zip", {"README": b"2", "labels/a.png": b"label"})
    unpack(one, tmp_path / "out", two)
    assert names(tmp_path / "out") == ["README", "labels/a.png", "photos/a.png"]
    assert (tmp_path / "out/README").read_bytes() == b"2"
    cut(two, -30)
    with pytest.raises(ReclipError, match=f"'{two}' is neither a tar nor a zip"):
        unpack(one, tmp_path / "new", two)
    assert {p.name for p in tmp_path.iterdir()} == {"1.zip", "2.zip", "out"}


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_of_a_folder_is_unpacked(tmp_path: Path, kind: str) -> None:
    (tmp_path / "made/./sub").mkdir(parents=True)
    (tmp_path / "made/sub/größe.txt").write_text("1")
    archive = Path(shutil.make_archive(str(tmp_path / "a"), kind, tmp_path / "made"))
    unpack(archive, tmp_path / "out")
    assert names(tmp_path / "out") == ["sub/größe.txt"]


def test_other_users_may_read_what_was_packed_for_its_owner(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for kind, name, mode in (("5", "sub", 0o700), ("0", "sub/a.txt", 0o600)):
                info = tarfile.TarInfo(name)
                info.type, info.mode = kind.encode(), mode
                tar.addfile(info)
        unpack(tmp_path / "a.tar", tmp_path / "out")
    finally:
        os.umask(before)
    assert (tmp_path / "out/sub").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out/sub/a.txt").stat().st_mode & 0o777 == 0o644


def test_an_earlier_unpacked_folder_is_replaced(tmp_path: Path) -> None:
    unpack(tar_of(tmp_path / "a.tar", {"old.txt": b"1"}), tmp_path / "out" / "unpacked")
    unpack(tar_of(tmp_path / "a.tar", {"new.txt": b"1"}), tmp_path / "out" / "unpacked")
    assert names(tmp_path / "out") == ["unpacked/new.txt"]


def test_an_earlier_unpacked_folder_survives_a_bad_archive(tmp_path: Path) -> None:
    unpack(tar_of(tmp_path / "a.tar", {"old.txt": b"1"}), tmp_path / "out" / "unpacked")
    with pytest.raises(ReclipError):
        unpack(cut(tar_of(tmp_path / "a.tar", MEMBERS), FIRST), tmp_path / "out" / "unpacked")
    assert names(tmp_path / "out") == ["unpacked/old.txt"]


def test_the_leftovers_of_a_kill_are_removed(tmp_path: Path) -> None:
    (tmp_path / "out/.unpacked.partial").mkdir(parents=True)
    (tmp_path / "out/.unpacked.partial/half").write_text("1")
    unpack(tar_of(tmp_path / "a.tar", MEMBERS), tmp_path / "out" / "unpacked")
    assert names(tmp_path / "out") == ["unpacked/a.txt", "unpacked/sub/b.txt"]


def test_the_later_of_two_members_of_one_name_counts(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", {"a.txt": b"old"})
    tar_of(tmp_path / "a.tar", {"a.txt": b"new"}, "a")
    unpack(tmp_path / "a.tar", tmp_path / "out")
    assert (tmp_path / "out/a.txt").read_bytes() == b"new"


# Cut short or damaged.


@pytest.mark.parametrize("size", [FIRST, FIRST + 512, FIRST + 200, FIRST - 1, 700, 512])
def test_a_truncated_tar_is_noticed(tmp_path: Path, size: int) -> None:
    refused(cut(tar_of(tmp_path / "a", MEMBERS), size), "truncated or damaged")


def test_a_tar_without_its_end_mark_is_noticed(tmp_path: Path) -> None:
    refused(cut(tar_of(tmp_path / "a", MEMBERS), 2 * FIRST), "no end mark")


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    refused(flipped(tar_of(tmp_path / "a", MEMBERS), FIRST + 3), "no end mark")


def test_a_file_that_was_only_reserved_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(tar_of(tmp_path / "a", MEMBERS).read_bytes()[:FIRST])
    os.truncate(tmp_path / "a", 3 * 2**20)  # as a download begins that reserves its room
    refused(tmp_path / "a", "continues after its end mark")
    (tmp_path / "a").write_bytes(bytes(10240))
    refused(tmp_path / "a", "holds no file")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("keep", [-4, -2000, 30_000, 40])
def test_a_truncated_compressed_tar_is_noticed(tmp_path: Path, mode, keep) -> None:
    refused(cut(tar_of(tmp_path / "a", NOISE, mode), keep), "truncated or damaged|neither a tar")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("at", [30_000, -6])
def test_a_flipped_bit_in_a_compressed_tar_is_noticed(tmp_path: Path, mode, at: int) -> None:
    refused(flipped(tar_of(tmp_path / "a", NOISE, mode), at), "damaged")


@pytest.mark.parametrize("packer", [gzip, bz2, lzma])
def test_a_compressed_tar_without_its_end_mark_is_noticed(tmp_path: Path, packer) -> None:
    data = tar_of(tmp_path / "a", MEMBERS).read_bytes()[:FIRST]
    (tmp_path / "a").write_bytes(packer.compress(data))
    refused(tmp_path / "a", "no end mark")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_flipped_bit_in_a_zip_is_noticed(tmp_path: Path, method: int) -> None:
    refused(flipped(zip_of(tmp_path / "a", NOISE, method), 30_000), "truncated or damaged")


def test_a_wrong_checksum_in_a_zip_is_noticed(tmp_path: Path) -> None:
    refused(zip_patched(tmp_path / "a", MEMBERS, {14: b"1234"}), "damaged.*CRC")


@pytest.mark.parametrize(
    "make",
    [
        lambda p: cut(zip_of(p, MEMBERS), -30),
        lambda p: cut(tar_of(p, MEMBERS), 100),
        lambda p: p.write_bytes(b""),
        lambda p: p.write_text("<!DOCTYPE html><html><body>Please log in</body></html>"),
        lambda p: p.write_bytes(gzip.compress(b"some text")),
        lambda p: p.write_bytes(np.random.default_rng(1).bytes(5000)),
    ],
    ids=["zip cut short", "cut in a header", "empty", "web page", "gz of no tar", "noise"],
)
def test_a_file_that_is_no_archive_is_reported(tmp_path: Path, make) -> None:
    make(tmp_path / "a")
    refused(tmp_path / "a", "neither a tar nor a zip")


def test_a_random_bit_never_ends_in_a_traceback(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    made = [tar_of(tmp_path / "t", MEMBERS), tar_of(tmp_path / "g", MEMBERS, "w:gz")]
    made += [tar_of(tmp_path / "p", {"n" * 300: b"1"}), zip_of(tmp_path / "z", MEMBERS)]
    for data in [path.read_bytes() for path in made]:
        for at in draw.integers(0, min(len(data), 2500), 40):
            (tmp_path / "a").write_bytes(data)
            try:
                unpack(flipped(tmp_path / "a", int(at)), tmp_path / "out")
            except ReclipError as error:
                assert "\n" not in error.args[0]


# Made to do harm.


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "//evil", "a/.."])
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path: Path, make, name) -> None:
    refused(make(tmp_path / "a", {"ok": b"1", name: b"x"}), "leave its folder: do not trust it")


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize("name", ["C:evil", "c:\\evil", "a\\..\\evil", "a\nb"])
def test_a_member_whose_name_means_more_than_a_file_is_refused(tmp_path: Path, make, name) -> None:
    refused(make(tmp_path / "a", {"ok": b"1", name: b"x"}), "no name for a file")


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a", {"ok": b"1", "evil_.txt": b"x"})
    path.write_bytes(path.read_bytes().replace(b"evil_", b"evil\0"))
    refused(path, "no name for a file")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    refused(special(tmp_path / "a", kind), "'link', a link or device: do not trust it")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    refused(zip_link(tmp_path / "a"), "'link', a link or device: do not trust it")


def test_an_encrypted_zip_says_what_to_do(tmp_path: Path) -> None:
    path = zip_patched(tmp_path / "a", MEMBERS, {6: b"\1\0"})
    refused(path, "is encrypted: unpack it with its password .* source.folder")


def test_an_unknown_packing_says_what_to_do(tmp_path: Path) -> None:
    refused(
        zip_patched(tmp_path / "a", MEMBERS, {8: b"\x63\0"}), "unknown compression.*source.folder"
    )


def test_more_than_the_free_space_is_refused_before_writing(tmp_path: Path, monkeypatch) -> None:
    asked = []

    def disk_usage(path):
        asked.append((Path(path), names(tmp_path / "out")))
        return SimpleNamespace(free=5000)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    refused(tar_of(tmp_path / "a", MEMBERS), "free some space")
    [(folder, written)] = asked
    assert folder.is_relative_to(tmp_path / "out") and not written  # the disk that it goes to


def test_small_files_are_counted_by_the_blocks_that_they_take(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100_000))
    refused(tar_of(tmp_path / "a", {f"{i}": b"" for i in range(30)}), "free some space")


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_too_much_is_refused_however_much_is_free(tmp_path: Path, monkeypatch, make) -> None:
    monkeypatch.setattr(module, "MAX_UNPACKED", 5000)
    refused(make(tmp_path / "a", MEMBERS), "check the archive")


def test_an_implausible_compression_is_refused(tmp_path: Path, monkeypatch) -> None:
    zeros = {"zeros": bytes(2**20)}
    monkeypatch.setattr(module, "RATIO_FROM", 2**19)
    refused(tar_of(tmp_path / "a", zeros, "w:gz"), "check the archive")
    refused(zip_of(tmp_path / "a", zeros), "check the archive")
    monkeypatch.setattr(module, "RATIO_FROM", 2**21)
    unpack(tmp_path / "a", tmp_path / "out")  # little enough to do no harm
    monkeypatch.setattr(module, "RATIO_FROM", 2**19)
    unpack(tar_of(tmp_path / "a", zeros), tmp_path / "out")  # not packed at all


def test_a_member_declared_huge_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(header("a", 2**33 - 1) + bytes(2048))
    refused(tmp_path / "a", "check the archive")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_negative_size_is_refused(tmp_path: Path, kind: bytes) -> None:
    first = header("a", 3) + b"abc".ljust(512, b"\0")
    (tmp_path / "a").write_bytes(first + header("b", -1024, kind) + bytes(1024))
    refused(tmp_path / "a", "-1024 bytes")


def test_a_negative_size_in_a_pax_record_is_refused(tmp_path: Path) -> None:
    record = b"14 size=-1024\n"
    data = header("x", len(record), tarfile.XHDTYPE) + record.ljust(512, b"\0")
    (tmp_path / "a").write_bytes(data + header("b", 0) + bytes(1024))
    refused(tmp_path / "a", "-1024 bytes")


def test_a_name_of_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    data = header("x", 2**32, tarfile.GNUTYPE_LONGNAME) + bytes(2**20)
    (tmp_path / "a").write_bytes(gzip.compress(data))
    refused(tmp_path / "a", "for a header: do not trust it")


def test_a_zip_that_declares_less_than_it_holds_is_refused(tmp_path: Path) -> None:
    declared = struct.pack("<I", 100)
    refused(zip_patched(tmp_path / "a", MEMBERS, {22: declared}), "truncated or damaged")


def test_a_zip_that_declares_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    declared = struct.pack("<I", 9999)
    refused(zip_patched(tmp_path / "a", MEMBERS, {22: declared}), "truncated or damaged")


def test_pieces_of_a_sparse_member_are_counted_by_what_they_write(tmp_path: Path) -> None:
    """A map of pieces may list more bytes than the member declares."""
    pieces = b"1\n0\n%d\n" % 2**33
    records = b"".join(
        b"%d %s" % (len(text) + 3, text)
        for text in (b"GNU.sparse.major=1\n", b"GNU.sparse.minor=0\n", b"GNU.sparse.realsize=9\n")
    )
    data = header("x", len(records), tarfile.XHDTYPE) + records.ljust(512, b"\0")
    data += header("a", 512) + pieces.ljust(512, b"\0") + bytes(1024)
    (tmp_path / "a").write_bytes(data)
    refused(tmp_path / "a", "check the archive")


# The disk.


@needs_dev_full
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    def open_on_full_disk(path: str, mode: str):
        return open("/dev/full" if Path(path).name == "b.txt" else path, mode)

    monkeypatch.setattr(tarfile, "bltn_open", open_on_full_disk)
    refused(tar_of(tmp_path / "a", MEMBERS), "^the disk is full while unpacking .*free some space")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReclipError, match="cannot be unpacked into .*file"):
        unpack(tar_of(tmp_path / "a", MEMBERS), tmp_path / "file" / "unpacked")


def test_a_file_and_a_folder_of_one_name_are_one_sentence(tmp_path: Path) -> None:
    refused(tar_of(tmp_path / "a", {"a": b"1", "a/b": b"2"}), "cannot be unpacked")


def test_of_several_archives_each_must_hold_a_file(tmp_path: Path) -> None:
    first, empty = tar_of(tmp_path / "a", MEMBERS), tmp_path / "b"
    empty.write_bytes(bytes(10240))
    with pytest.raises(ReclipError, match=rf"'{empty}' holds no file of its own"):
        unpack(first, tmp_path / "out/unpacked", empty)
    assert list((tmp_path / "out").iterdir()) == []
