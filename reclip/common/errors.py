"""The exception for errors that the user can fix."""

from __future__ import annotations

from reclip.common.text import printable


class ReclipError(Exception):
    """An error that the user can fix, as one sentence: problem, place, fix.

    The command line prints the sentence and writes the traceback to a log. It is shown on one
    line: bytes of a path that are not UTF-8, and control characters, are escaped.
    """

    def __str__(self) -> str:
        return printable(super().__str__())
