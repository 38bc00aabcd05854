"""Lists and name suggestions in messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
