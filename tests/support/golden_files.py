"""Paths of the official numbers, and of the photos, which are not in the repository."""

from __future__ import annotations

from support.paths import TESTS

DATA = TESTS / "golden/data"
