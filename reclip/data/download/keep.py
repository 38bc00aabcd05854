"""Keep a person's files in a folder whose unpacked archive is replaced by another."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reclip.common.files import read_json, write_json

log = logging.getLogger(__name__)


@contextmanager
def own_files_kept(target: Path) -> Iterator[None]:
    """Context manager for `unpack` into `target`: files that no archive brought stay there.

    A hidden list beside `target` names the files of the archive. Meanwhile the other files lie in
    the folder `<target>-kept`; after a kill, the next run moves them back.
    """
    record = target.with_name(f".{target.name}.json")
    kept = target.with_name(f"{target.name}-kept")
    ours = set(read_json(record)) if record.is_file() else set()
    _move(_names(kept), kept, target)  # of a run that was killed
    _move([name for name in _names(target) if name not in ours], target, kept)
    try:
        yield
    finally:
        # Also if the archive turned out to hold other data.
        if (now := set(_names(target))) != ours:
            write_json(record, sorted(now))
        _move(_names(kept), kept, target)
        if kept.is_dir():
            log.warning("'%s' keeps files whose names the archive also has", kept)


def _names(folder: Path) -> list[str]:
    found = (p for p in folder.rglob("*") if p.is_file())
    return sorted(p.relative_to(folder).as_posix() for p in found)


def _move(names: list[str], source: Path, target: Path) -> None:
    """Move files, and remove the folders that this leaves empty. No file is overwritten."""
    for name in names:
        if not (target / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            os.rename(source / name, target / name)
    for folder in sorted(source.rglob("*"), reverse=True):
        with suppress(OSError):  # a file, or not empty
            folder.rmdir()
    with suppress(OSError):
        source.rmdir()


def unpacked_files(folder: Path) -> list[Path]:
    """Return the files that archives brought below `folder`, by the lists of `own_files_kept`."""
    found = []
    for record in folder.glob(".*.json"):
        target = folder / record.stem.removeprefix(".")
        if target.is_dir():
            found += [target / name for name in read_json(record)]
    return found
