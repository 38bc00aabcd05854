"""A browser without a window, for tests of the pages that are written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """Return the program that RECLIP_BROWSER names, else an installed Chromium or Chrome."""
    return os.environ.get("RECLIP_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser() -> Iterator[Any]:
    """Context manager for a `playwright` browser; skips the test where there is none.

    If RECLIP_BROWSER is set, as in CI, a browser that does not start is an error.
    """
    program = find_browser()
    if program is None:
        pytest.skip(
            "no Chromium or Chrome, which pip cannot install: install one (CI does), or name it in "
            "RECLIP_BROWSER"
        )
    reason = "no package playwright: install the extra 'dev'"
    if not os.environ.get("RECLIP_BROWSER"):
        pytest.importorskip("playwright", reason=reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program)  # without Chromium's sandbox
        yield started
        started.close()
