"""Writing files so that no half-written one is ever taken for a whole one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reclip.errors import ReclipError


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path`; on success it is renamed to `path`, on failure removed.

    The temporary name keeps the suffix, so that writers that look at it still work.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.errno == 28:
            raise ReclipError(
                f"the disk is full while writing '{path}': free some space and run again"
            ) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def canonical_json(data: Any) -> str:
    """JSON with sorted keys: equal data, equal text."""
    return json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def write_json(path: str | Path, data: Any) -> None:
    write_text(path, canonical_json(data))


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: str | Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
