"""Lists, name suggestions and paths in messages."""

from __future__ import annotations

import difflib
import os
import re
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


def printable(text: str | os.PathLike[str]) -> str:
    r"""Return a path, or a sentence with paths, as one line that any terminal and file takes.

    A byte that is not UTF-8 shows as `\xe9`, a control character as `\n`. Python decodes such bytes
    of a file's name to lone surrogates, which no file, log or terminal in UTF-8 takes.
    """
    try:
        shown = os.fsencode(text).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte, e.g. from JSON
        shown = os.fspath(text).encode("utf-8", "backslashreplace").decode()
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], shown)


def is_utf8(text: str | os.PathLike[str]) -> bool:
    """Return whether a path or text can be written as UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in os.fspath(text))
