"""A folder to work in, and a user's folders in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.folder_of_scenes import draw


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def labelled(here: Path) -> Path:
    """Draw training photos, three val photos and their labels."""
    draw(Path("photos"), 2)
    draw(Path("val"), 3, "val", Path("labels"))
    return Path("labels")
