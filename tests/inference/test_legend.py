"""Legends: every name can be read, or at least told from the others, in any script."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from reclip.inference import drawing
from reclip.inference.drawing import contact_sheet, font, lettering, with_legend

ENTRIES = [((9, 9, 9), f"a class {k} 0.1%") for k in range(60)]


@pytest.fixture
def bare(monkeypatch) -> None:
    """A machine without system fonts."""
    drawing._system_font.cache_clear()
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", list)
    yield
    drawing._system_font.cache_clear()


@pytest.mark.parametrize("text", ["cat", "Köter", "кот", "γάτα", "caffè 3%", ""])
def test_letters_of_the_font_are_kept(bare, text: str) -> None:
    assert lettering(text, 12) == (text, font(12))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("猫 3%", r"\u732b 3%"),
        ("two\nlines\r", "two lines"),
        ("\udcff", r"\udcff"),
        ("写 and ü", r"\u5199 and ü"),
    ],
)
def test_letters_without_a_font_become_code_points(bare, text: str, shown: str) -> None:
    assert lettering(text, 12)[0] == shown


def test_a_system_font_with_the_letters_is_used(tmp_path: Path, monkeypatch) -> None:
    drawing._system_font.cache_clear()
    (tmp_path / "bad.ttf").write_bytes(b"no font")
    dejavu = str(font(12).path)
    found = [str(tmp_path / "bad.ttf"), dejavu]
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: found)
    assert drawing._system_font("ж") == dejavu
    assert drawing._system_font("猫") is None
    drawing._system_font.cache_clear()


@pytest.mark.parametrize("size", [(1, 1), (500, 375), (1, 1600)])
def test_many_and_long_names_fit(bare, size: tuple[int, int]) -> None:
    long = ((0, 0, 0), "猫 " + "very " * 60)
    picture = with_legend(Image.new("RGB", size), [*ENTRIES, long])
    assert picture.height > size[1] and picture.width >= font(12).getlength("very " * 60)


def test_a_contact_sheet_of_photos_with_unusual_names(bare) -> None:
    cells = [
        (name, Image.new("RGB", (9, 9))) for name in ("a\nb", "写真" * 40, "\udcff", "x" * 300)
    ]
    assert contact_sheet(cells, ENTRIES).width > 900
