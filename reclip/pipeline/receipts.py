"""Receipts: `receipt.json` beside an output records its settings, code, inputs and checksums.

A job's digest covers its resolved settings, the modules that its stage uses, and the digests of
its inputs. An output is fresh if the recorded digest equals the wanted one. Modification times
play no part, so the answer survives clones, `dvc checkout`, reverts and touched files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reclip.common.errors import ReclipError
from reclip.common.files import canonical_json, file_sha256, read_json, write_json, write_text
from reclip.common.text import listed
from reclip.config import PARAMS
from reclip.pipeline import pruning
from reclip.pipeline.code_digest import source_name
from reclip.pipeline.job import Job, snakemake

ABSENT = "absent"  # a key that only one side has; None is a value


def read_receipt(path: Path) -> dict[str, Any] | None:
    """Return the receipt at `path`; None if it is missing or damaged."""
    try:
        receipt = read_json(path)
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return receipt if isinstance(receipt, dict) and "digest" in receipt else None


def write_plan_file(job: Job) -> None:
    """Write the wanted settings for both front ends; leave an equal file untouched."""
    text = canonical_json(job.wanted)
    if not job.plan_file.is_file() or job.plan_file.read_text("utf-8") != text:
        write_text(job.plan_file, text)


def finish(
    job: Job, outputs: list[Path], *, prune: bool = True, notes: dict[str, Any] | None = None
) -> None:
    """Write the job's receipt, with size and sha256 of each output.

    A stage calls this last, so a receipt means that all outputs are complete.

    Args:
        outputs: every file that the job made, in its folder or beside it.
        prune: first remove files of earlier settings from the job's own folder. Files that no
            receipt of the job names stay.
        notes: what the stage found out about its outputs, under keys of their own. "warnings" is
            a list of sentences.
    """
    if prune and not job.shares_folder:
        pruning.prune(job, read_receipt(job.receipt), outputs)
    if "DVC_STAGE" not in os.environ:
        write_text(job.unrecorded_marker, "not recorded in DVC yet: run `reclip record`\n")
    facts = {}
    for output in sorted(outputs):
        name = os.path.relpath(output, job.folder)
        facts[name] = {"bytes": output.stat().st_size, "sha256": file_sha256(output)}
    write_json(job.receipt, {**(notes or {}), **job.wanted, "outputs": facts})
    pruning.forget(job)


def invalidate(job: Job) -> None:
    """Delete the receipt before the stage runs; the list of its outputs is kept."""
    pruning.replace_receipt(job, read_receipt(job.receipt))


def warnings(job: Job) -> list[str]:
    """Return the warnings that the job's stage wrote into its receipt."""
    return list((read_receipt(job.receipt) or {}).get("warnings", ()))


def warnings_behind(job: Job) -> list[str]:
    """Return the warnings in the receipts of a job and of all jobs before it, each once."""
    return sorted({said for one in job.with_all_before for said in warnings(one)})


def recorded_outputs(job: Job) -> list[Path]:
    """Return the paths of the outputs that the receipt lists.

    Raises ReclipError: the receipt names a file outside the experiment. Receipts travel with
        results, so they are not trusted to name any file of this machine.
    """
    names = read_json(job.receipt)["outputs"]
    paths = [Path(os.path.normpath(job.folder / name)) for name in names]
    for path in paths:
        if not path.is_relative_to(job.plan_folder.parent):
            raise ReclipError(
                f"'{job.receipt}' names '{path}', which is outside the experiment: delete the "
                f"receipt and run `snakemake` again"
            )
    return paths


def require_inputs(job: Job, params: str = PARAMS) -> None:
    """Raise ReclipError if an input is missing or stale.

    params: the settings file, for the command in the error.
    """
    for other in job.inputs.values():
        if reason := why_stale(other):
            raise ReclipError(
                f"{job.name} needs {other.name}, which is stale ({reason}): "
                f"run `{snakemake(other.receipt, params)}` first"
            )


def why_stale(job: Job) -> str | None:
    """Return in words why the job's output is stale; None if it is fresh."""
    receipt = read_receipt(job.receipt)
    if receipt is None:
        return "not made yet"
    if receipt["digest"] == job.digest:
        # git tracks metrics, tables and figures, and may bring others without their receipts.
        lost = lost_outputs(receipt, job.folder)
        return lost or replaced_outputs(receipt, job.folder, job.outputs)
    if any(receipt.get(key) != job.wanted[key] for key in ("stage", "id", "seed")):
        return "made by another job"
    return _own_changes(receipt, job.wanted) or _input_changes(job, receipt)


def _own_changes(recorded: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    """Return which of a job's own settings and modules changed, in words; None if none did."""
    said = differences(recorded.get("settings", {}), wanted["settings"])
    was, now = recorded.get("modules", {}), wanted["modules"]
    for module in sorted(was.keys() | now.keys()):
        if was.get(module) != now.get(module):
            both = module in was and module in now
            how = "changed" if both else "is used now" if module in now else "is no longer used"
            said.append(f"{source_name(module)} {how}")
    return listed(said, "; ") or None


def _input_changes(job: Job, receipt: dict[str, Any]) -> str:
    """Return which inputs changed since the receipt, and the first change upstream, in words."""
    recorded = receipt.get("inputs", {})
    changed = {
        role: other for role, other in job.inputs.items() if recorded.get(role) != other.digest
    }
    if not changed:
        gone = sorted(recorded.keys() - job.inputs)
        return f"it no longer reads {listed(gone)}" if gone else "the receipt is damaged"
    names = listed([other.name for other in changed.values()])
    said = f"its input{'s' * (len(changed) > 1)} {names} changed"
    causes = (_change_since(recorded.get(role), other) for role, other in changed.items())
    if found := next(filter(None, causes), None):
        cause, what = found
        of = "" if [cause] == list(changed.values()) else f"of {cause.name}: "
        said += f", because {of}{what}"
    return said


def _change_since(digest: str | None, job: Job) -> tuple[Job, str] | None:
    """Return the first job from `job` upstream that changed since `digest`, and its change.

    None if no receipt of that digest is left, because the job has run again since.
    """
    receipt = read_receipt(job.receipt)
    if receipt is None or receipt["digest"] != digest:
        return None
    if own := _own_changes(receipt, job.wanted):
        return job, own
    recorded = receipt.get("inputs", {})
    for role, other in job.inputs.items():
        was = recorded.get(role)
        if was != other.digest and (found := _change_since(was, other)):
            return found
    return None


def differences(recorded: Any, wanted: Any, at: str = "") -> list[str]:
    """Return each leaf that differs between two settings, as `key old → new`."""
    if isinstance(recorded, dict) and isinstance(wanted, dict):
        found = []
        for key in sorted(set(recorded) | set(wanted)):
            path = f"{at}.{key}" if at else key
            found += differences(recorded.get(key, ABSENT), wanted.get(key, ABSENT), path)
        return found
    return [] if recorded == wanted else [f"{at} {_brief(recorded)} → {_brief(wanted)}"]


def _brief(value: Any, limit: int = 60) -> str:
    text = str(value)
    return text if len(text) <= limit else text[:limit] + "…"


def lost_outputs(receipt: dict[str, Any], folder: Path) -> str | None:
    """Return which recorded outputs are missing or have another size, in words."""
    found: dict[str, list[str]] = {"missing": [], "changed in size": []}
    for name, facts in receipt.get("outputs", {}).items():
        try:
            if (folder / name).stat().st_size != facts["bytes"]:
                found["changed in size"].append(name)
        except (FileNotFoundError, NotADirectoryError):
            found["missing"].append(name)
    said = [f"output {what}: {listed(names)}" for what, names in found.items() if names]
    return "; ".join(said) or None


def replaced_outputs(receipt: dict[str, Any], folder: Path, outputs: Iterable[Path]) -> str | None:
    """Return which of `outputs` have another checksum than recorded, in words."""
    recorded = receipt.get("outputs", {})
    names = [os.path.relpath(path, folder) for path in outputs if path.is_file()]
    names = [name for name in names if name in recorded]
    replaced = [n for n in names if file_sha256(folder / n) != recorded[n]["sha256"]]
    return f"output changed in content: {listed(replaced)}" if replaced else None


def corrupted_outputs(receipt: Path) -> list[str]:
    """Return the outputs of a receipt whose checksum differs from the recorded one."""
    facts = (read_receipt(receipt) or {}).get("outputs", {}).items()
    return [name for name, fact in facts if file_sha256(receipt.parent / name) != fact["sha256"]]
