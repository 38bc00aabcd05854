"""The exception for errors that the user can fix."""

from __future__ import annotations


class ReclipError(Exception):
    """An error that the user can fix, as one sentence: problem, place, fix.

    The command line prints the sentence and writes the traceback to a log.
    """
