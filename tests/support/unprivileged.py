"""Run a test's step without the rights of root, who may read and write everything.

Tests run as root in many containers. What they say of permissions would otherwise be skipped there.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import pytest

VERSION = 0x20080522  # of Linux's capget and capset
DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2  # the rights to pass over permissions


def unprivileged(step: Callable[[], Any]) -> Any:
    """Return what `step` returns, or raise what it raises, in a child process without the rights.

    What it returns or raises must be picklable.
    """
    if os.geteuid() != 0:
        return step()
    if not hasattr(ctypes.CDLL(None), "capset"):
        pytest.skip(
            "root may read everything, and only Linux can take that right: use another user"
        )
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        drop_rights()
        try:
            sender.send((True, step()))
        except BaseException as error:
            sender.send((False, error))

    process = context.Process(target=child)
    process.start()
    sender.close()
    done, found = receiver.recv()
    process.join()
    if not done:
        raise found
    return found


def drop_rights() -> None:
    """Take the two rights from this process for good; it stays the owner of root's files."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, words = (ctypes.c_uint32 * 2)(VERSION, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, words):
        raise OSError(ctypes.get_errno(), "capget")
    for first in (0, 1):  # the effective and the permitted rights
        words[first] &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    if libc.capset(header, words):
        raise OSError(ctypes.get_errno(), "capset")
