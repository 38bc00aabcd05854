"""Paths and texts that are not UTF-8 can be shown, hashed and remembered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reclip.common.errors import ReclipError
from reclip.common.files import text_sha256
from reclip.common.hashing import CACHE, cached_sha256
from reclip.common.text import is_utf8, printable
from support.odd_photos import odd_name

ODD = os.fsdecode(b"\xe9.jpg")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café 写", "café 写"),
        (ODD, "\\xe9.jpg"),
        (Path(ODD), "\\xe9.jpg"),
        ("\ud800", "\\ud800"),
        ("a\nb\x1b", "a\\nb\\x1b"),
    ],
)
def test_a_path_is_shown_in_one_line_of_utf_8(text: str | Path, shown: str) -> None:
    assert printable(text) == shown and shown.encode()
    assert is_utf8(text) == all(ord(c) not in range(0xD800, 0xE000) for c in str(text))


def test_every_error_can_be_printed() -> None:
    assert str(ReclipError(f"Cannot read '{ODD}'")) == "Cannot read '\\xe9.jpg'"


def test_such_a_path_is_hashed_and_its_sum_remembered(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd_name(Path(ODD)).write_bytes(b"1")
    assert cached_sha256(Path(ODD)) == cached_sha256(Path(ODD))
    assert "\\\\xe9.jpg" in CACHE.read_text()
    assert text_sha256(ODD) != text_sha256("\\xe9.jpg")
