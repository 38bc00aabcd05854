"""Remove the files of earlier settings from a job's folder, and no other file.

A person may keep files of their own beside results. So a file is removed only if an earlier receipt
of the job names it and it still has the recorded content. Snakemake deletes the receipt before the
stage runs, and so does `reclip`. A hidden file therefore keeps its list until the next receipt is
written, also if the stage is killed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from reclip.common.files import file_sha256, read_json, write_json
from reclip.data.download.keep import unpacked_files
from reclip.pipeline.job import Job

MADE = ".made.json"
"""File in a job's folder: the outputs of earlier receipts, until the next receipt is written."""

_OWN_FILE = re.compile(
    r"(^|/)\.[^/]*\.(checkpoint|reclip-\d+\.partial[^/]*)$|^\.[^/]*\.partial/|^\.\w+\.json$"
    r"|^shards-[0-9a-f]{16}/(train|val)-\d+/(tokens|global|views|cells)\.npy$"
)
"""Files that stages write and no receipt names, beside those that an archive brought; the last are
a killed feature cache's."""

Facts = dict[str, dict[str, Any]]  # name to size and checksum, as in a receipt


def remember(job: Job, receipt: dict[str, Any] | None) -> None:
    """Keep the list of outputs of the job's present receipt, which is about to be deleted.

    receipt: None if it is missing or damaged.
    """
    if receipt is None or job.shares_folder:
        return
    before = _remembered(job)
    made = before | _outputs(receipt)
    if made != before:
        write_json(job.folder / MADE, {"outputs": made})


def replace_receipt(job: Job, receipt: dict[str, Any] | None) -> None:
    """Delete the job's receipt, but keep its list of outputs."""
    made = job.folder / MADE
    if receipt is not None and not job.shares_folder and not made.exists():
        os.replace(job.receipt, made)  # works on a full disk, too
        return
    remember(job, receipt)
    job.receipt.unlink(missing_ok=True)


def forget(job: Job) -> None:
    """Delete the list of `remember`; a new receipt replaces it."""
    (job.folder / MADE).unlink(missing_ok=True)


def prune(job: Job, receipt: dict[str, Any] | None, outputs: Collection[Path]) -> None:
    """Remove files of earlier receipts that are not among the new outputs.

    Receipts travel with results, so they are not trusted to name a file outside the job's folder.
    """
    kept, folder = {path.resolve() for path in outputs}, job.folder.resolve()
    for name, facts in (_remembered(job) | _outputs(receipt)).items():
        path = folder / name
        # A link among the folders would lead elsewhere.
        inside = path.parent.resolve() == Path(os.path.normpath(path.parent))
        inside = inside and Path(os.path.normpath(path)).is_relative_to(folder)
        if inside and path.resolve() not in kept and _has_content(path, facts):
            path.unlink()
            _remove_empty(path.parent, folder)


def unknown_files(job: Job, receipt: dict[str, Any] | None) -> list[Path]:
    """Return the files in a job's own folder that none of its receipts names.

    Checkpoints, partial files and files of an unpacked archive are a stage's own and not listed.
    """
    if job.shares_folder or not job.folder.is_dir():
        return []
    known = _remembered(job) | _outputs(receipt)
    own = {job.receipt, *(job.folder / name for name in known), *unpacked_files(job.folder)}
    found = (p for p in job.folder.rglob("*") if p.is_file() and p not in own)
    return sorted(p for p in found if not _OWN_FILE.search(p.relative_to(job.folder).as_posix()))


def _remembered(job: Job) -> Facts:
    try:
        return _outputs(read_json(job.folder / MADE))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return {}


def _outputs(receipt: Any) -> Facts:
    found = receipt.get("outputs") if isinstance(receipt, dict) else None
    found = found if isinstance(found, dict) else {}
    return {name: f for name, f in found.items() if isinstance(f, dict) and "sha256" in f}


def _has_content(path: Path, facts: dict[str, Any]) -> bool:
    """Return whether a file is as recorded; one that a person changed is theirs."""
    if not path.is_file() or path.stat().st_size != facts.get("bytes"):
        return False
    return file_sha256(path) == facts["sha256"]


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder that pruning left empty, and the empty ones above it, up to `root`."""
    with suppress(OSError):  # not empty
        while folder != root:
            folder.rmdir()
            folder = folder.parent
