"""Folders that tests name."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
PACKAGE = ROOT / "reclip"
SHARED = ROOT / "../shared"
"""Photos and numbers that are not in the repository; tests that need them skip without them."""
