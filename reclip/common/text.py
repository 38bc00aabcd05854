"""Lists, paths and name suggestions in messages."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path


def listed(items: list[str], separator: str = ", ", most: int = 3) -> str:
    """Return the first `most` items, and how many more there are."""
    more = [f"and {len(items) - most} more"] if len(items) > most else []
    return separator.join(items[:most] + more)


def nearest(name: str, names: Iterable[object]) -> str:
    """Return `; did you mean 'X'?` for the closest of `names`, or the list of all."""
    known = sorted(str(n) for n in names)
    if not known:
        return "; there are none"
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}"


def printable(path: str | Path) -> str:
    """Return a path, or a sentence with paths, as one line that any terminal and file takes.

    Bytes that are not UTF-8 become `\\xe9`, control characters become `\\n`.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], text)
