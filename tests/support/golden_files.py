"""Paths of the official numbers, and of the photos, which are not in the repository."""

from __future__ import annotations

from support.paths import SHARED, TESTS

DATA = TESTS / "golden/data"
PHOTOS = SHARED / "real/VOCtrainval-subset.tar"
