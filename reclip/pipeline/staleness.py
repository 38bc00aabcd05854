"""What Snakemake and DVC are told of staleness, before either decides anything.

Both go by digests (reclip.pipeline.receipts), through the plan files: one a job, which every
front end's job reads. DVC compares their contents. Snakemake compares times alone, so each file
gets the time that says what its digest says, and what clones, pulls and hands do to times has no
effect.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.common.text import listed
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import corrupted_outputs, read_receipt, why_stale, write_plan_file

# Outputs of stale jobs are older than plan files, those of fresh jobs newer, and newer than those
# of the jobs that they read. A file's place in its span follows from its content: DVC takes a file
# of the same inode, time and size for the same one, and a deleted file's inode goes to the next.
SPAN = 2**20 * 1_000_000_000
STALE, PLANNED, FRESH = 250 * SPAN, 500 * SPAN, 1000 * SPAN

INTERRUPTED = Path(".snakemake/incomplete")


def report(plan: Plan, *, verify: bool = False) -> Iterator[str]:
    """For every job, in the pipeline's order, a line of words; then how many are which."""
    asked = set(plan.default_jobs)
    counts = {"stale": 0, "fresh": 0, "aside": 0}
    for job in plan.jobs:
        reason = why_stale(job)
        if reason is None and verify:
            bad = corrupted_outputs(read_receipt(job.receipt) or {}, job.folder)
            reason = f"changed on disk: {listed(bad)}" if bad else None
        word = "fresh" if reason is None else "stale" if job in asked else "aside"
        counts[word] += 1
        yield f"{word}  {job.name}" + (f": {reason}" if reason else "")
    if not counts["stale"]:
        aside = f", {counts['aside']} aside" if counts["aside"] else ""
        yield f"everything is fresh: {counts['fresh']} outputs{aside}"
    else:
        yield ", ".join(f"{n} {word}" for word, n in counts.items() if n or word == "stale")


def write_plan_files(plan: Plan) -> None:
    """Every job's wanted settings, and no file of a job that is no more: DVC hashes the folder."""
    for job in plan.jobs:
        write_plan_file(job)
    known = {job.plan_file for job in plan.jobs}
    for path in (plan.root / "plan").glob("*/*.json"):
        if path not in known:
            path.unlink()


def settle(plan: Plan) -> set[Job]:
    """Write the plan files, and give them and the outputs the times that Snakemake shall see.

    Returns:
        The jobs that are stale.
    """
    write_plan_files(plan)
    stale: set[Job] = set()
    depths: dict[Job, int] = {}
    for job in plan.jobs:
        depths[job] = 1 + max((depths[i] for i in job.inputs.values()), default=0)
        _set_time(job.plan_file, PLANNED + _place(job.digest))
        receipt = None if why_stale(job) else _sha256(job.receipt)
        if receipt is None:
            stale.add(job)
            _make_old(job)
        else:
            for path in job.declared:
                _set_time(path, FRESH + depths[job] * SPAN + _place(receipt))
    _forget_interruptions([job for job in plan.jobs if job not in stale])
    return stale


def _make_old(job: Job) -> None:
    for path in job.declared:
        with suppress(FileNotFoundError):
            time = path.stat().st_mtime_ns
            _set_time(path, time if STALE <= time < PLANNED else STALE + time % SPAN)


def _sha256(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except FileNotFoundError:  # its job has just begun, in another process
        return None


def _place(digest: str) -> int:
    """A time within a span, in whole microseconds: DVC keeps times as floats."""
    return int(digest, 16) % (SPAN // 1000) * 1000


def _set_time(path: Path, ns: int) -> None:
    try:
        with suppress(FileNotFoundError):
            for follow in (True, False):  # Snakemake looks at a link's own time, too
                if path.stat(follow_symlinks=follow).st_mtime_ns != ns:
                    os.utime(path, ns=(ns, ns), follow_symlinks=follow)
    except PermissionError as error:
        raise ReclipError(
            f"'{path}' belongs to someone else, and its time must be set: run as its owner, or "
            f"copy the results"
        ) from error


def _forget_interruptions(fresh: list[Job]) -> None:
    """Forget the jobs that Snakemake saw interrupted, where something else has finished them.

    It would delete and make them again, and with them all that depends on them.
    """
    finished = {str(path) for job in fresh for path in job.declared}
    for marker in INTERRUPTED.rglob("*"):
        if marker.is_dir():
            continue
        name = "".join(part.removeprefix("@") for part in marker.relative_to(INTERRUPTED).parts)
        try:
            path = urlsafe_b64decode(name).decode()
        except (NotBase64, UnicodeDecodeError):
            continue
        if path in finished:
            marker.unlink(missing_ok=True)
