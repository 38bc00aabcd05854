"""The one exception that a person is meant to read."""

from __future__ import annotations


class ReclipError(Exception):
    """Something the user can mend, said in one sentence: what is wrong, where, what to do.

    The command line prints the sentence alone and sends the traceback to the log.
    """
