"""A job: one stage on one data set, run or table, with its settings, inputs and folder."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from reclip.common.errors import ReclipError
from reclip.common.files import canonical_json, read_json, write_text
from reclip.pipeline import receipts

# stage -> (module with `main(job)`, what its id names). The order is the pipeline's.
STAGES: dict[str, tuple[str, str]] = {
    "fetch": ("reclip.stages.fetch", "dataset"),
    "prepare": ("reclip.data.prepare", "dataset"),
    "embed-text": ("reclip.stages.embed_text", "dataset"),
    "cache-features": ("reclip.clip.extract", "dataset"),
    "hypothesise": ("reclip.stages.hypothesise", "dataset"),
    "rectify": ("reclip.stages.rectify", "run"),
    "pseudo-mask": ("reclip.stages.pseudo_mask", "run"),
    "distill": ("reclip.stages.distill", "run"),
    "probe": ("reclip.stages.probe", "run"),
    "evaluate": ("reclip.stages.evaluate", "run"),
    "package": ("reclip.stages.package", "run"),
    "tabulate": ("reclip.stages.tabulate", "table"),
    "plot": ("reclip.stages.plot", "experiment"),
    "check": ("reclip.stages.check", "experiment"),
    "summarise": ("reclip.stages.summarise", "experiment"),
}

PARAMS = "params.yaml"  # that is meant where none is named


def snakemake(target: str | Path, params: str) -> str:
    """The command that makes `target` by the settings file `params`, for errors."""
    config = "" if params == PARAMS else f" --config params={shlex.quote(params)}"
    return f"snakemake {target}{config}"


def is_hidden(path: Path) -> bool:
    """Checkpoints and partial files, whose owners remove them."""
    return path.name.startswith(".")


def _plain(value: Any) -> Any:
    """Settings as JSON types."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


@dataclass(frozen=True, eq=False)
class Job:
    """What a stage's `main(job)` gets.

    Attributes:
        stage: a key of STAGES.
        id: name of the data set, run, table or experiment.
        folder: where its outputs lie; the receipt lies there too.
        settings: all that it may read of the params, as models or plain values.
        inputs: the jobs whose outputs it may read, by role.
        outputs: outputs known beforehand that other tools name (absolute or project-relative).
    """

    stage: str
    id: str
    folder: Path
    plan_folder: Path
    settings: dict[str, Any]
    inputs: dict[str, Job] = field(default_factory=dict)
    outputs: tuple[Path, ...] = ()
    surroundings: dict[str, Any] = field(default_factory=dict)  # read, but nothing depends on it
    shares_folder: bool = False  # several jobs write there: the receipt carries the job's id

    @property
    def module(self) -> str:
        return STAGES[self.stage][0]

    @property
    def name(self) -> str:
        return f"{self.stage} {self.id}"

    @property
    def receipt(self) -> Path:
        return self.folder / (f"{self.id}.receipt.json" if self.shares_folder else "receipt.json")

    @property
    def wanted_file(self) -> Path:
        return self.plan_folder / self.stage / f"{self.id}.json"

    @property
    def told(self) -> tuple[Path, ...]:
        """The outputs that Snakemake is told of: others are vouched for by the receipt alone."""
        return (self.receipt, *self.outputs)

    @property
    def unrecorded_note(self) -> Path:
        """Is there once a result was made that DVC may not know; `reclip record` removes it.

        It lies in an output of dvc.yaml's first stage, which therefore runs before `dvc repro`
        deletes anything, and looks whether DVC knows (reclip.versioning.record).
        """
        return self.plan_folder / "unrecorded"

    @cached_property
    def wanted(self) -> dict[str, Any]:
        """What the receipt of a fresh output holds (but for the list of outputs)."""
        what = {
            "stage": self.stage,
            "id": self.id,
            "settings": _plain(self.settings),
            "modules": receipts.modules_used(self.module),
            "inputs": {role: job.digest for role, job in sorted(self.inputs.items())},
        }
        return {**what, "digest": receipts.digest_of(what)}

    @property
    def digest(self) -> str:
        return self.wanted["digest"]

    def stale_because(self) -> str | None:
        """Why the output is not that of the present settings, in words; None if it is."""
        receipt = receipts.read_receipt(self.receipt)
        if receipt is None:
            return "not made yet"
        if receipt["digest"] == self.digest:
            lost = receipts.lost_outputs(receipt, self.folder)
            # Metrics, tables and figures are in git, which brings others without their receipts.
            return lost or receipts.replaced_outputs(receipt, self.folder, self.outputs)
        if (receipt.get("stage"), receipt.get("id")) != (self.stage, self.id):
            return "made by another job"
        return receipts.changes(receipt, self.wanted) or self._inputs_changed(receipt)

    def _inputs_changed(self, receipt: dict[str, Any]) -> str:
        """Which inputs are others than those it was made from, and what upstream made them so."""
        recorded = receipt.get("inputs", {})
        changed = {
            role: job for role, job in self.inputs.items() if recorded.get(role) != job.digest
        }
        if not changed:
            gone = sorted(recorded.keys() - self.inputs)
            return f"it reads no more: {receipts.listed(gone)}" if gone else "a damaged receipt"
        names = receipts.listed([job.name for job in changed.values()])
        said = f"its input{'s' * (len(changed) > 1)} {names} changed"
        causes = (job.change_since(recorded.get(role)) for role, job in changed.items())
        if found := next(filter(None, causes), None):
            cause, what = found
            of = "" if [cause] == list(changed.values()) else f"of {cause.name}: "
            said += f", because {of}{what}"
        return said

    def change_since(self, digest: str | None) -> tuple[Job, str] | None:
        """The first job from here upstream that made this one's digest another than `digest`.

        With what changed there, in words. None where no receipt tells: it was made again since.
        """
        receipt = receipts.read_receipt(self.receipt)
        if receipt is None or receipt["digest"] != digest:
            return None
        if own := receipts.changes(receipt, self.wanted):
            return self, own
        recorded = receipt.get("inputs", {})
        for role, job in self.inputs.items():
            if recorded.get(role) != job.digest and (found := job.change_since(recorded.get(role))):
                return found
        return None

    def write_wanted(self) -> None:
        """Write the wanted settings where both front ends look; untouched if they are there."""
        text = canonical_json(self.wanted)
        if not self.wanted_file.is_file() or self.wanted_file.read_text("utf-8") != text:
            write_text(self.wanted_file, text)

    def require_inputs(self, params: str = PARAMS) -> None:
        """Raises ReclipError if an input is missing or was made with other settings.

        params: the settings file, for the command that the error names.
        """
        for job in self.inputs.values():
            reason = job.stale_because()
            if reason:
                raise ReclipError(
                    f"{self.name} needs {job.name}, which is stale ({reason}): "
                    f"run `{snakemake(job.receipt, params)}` first"
                )

    def done(self, outputs: list[Path], *, prune: bool = True) -> None:
        """Vouch for `outputs` (under `folder`, or beside it): write the receipt.

        `prune` first removes what earlier settings left in the job's own folder.
        """
        if prune and not self.shares_folder:
            kept = {path.resolve() for path in outputs}
            for path in self.folder.rglob("*"):
                if path.is_file() and path.resolve() not in kept and not is_hidden(path):
                    path.unlink()
        if "DVC_STAGE" not in os.environ:
            write_text(self.unrecorded_note, "made without DVC: `reclip record` tells it\n")
        receipts.write_receipt(self.receipt, self.wanted, self.folder, outputs)

    def recorded_outputs(self) -> list[Path]:
        """Paths of the outputs that the receipt names.

        Receipts travel with results; one that names another file of this machine is not believed.
        """
        names = read_json(self.receipt)["outputs"]
        paths = [Path(os.path.normpath(self.folder / name)) for name in names]
        for path in paths:
            if not path.is_relative_to(self.plan_folder.parent):
                raise ReclipError(
                    f"'{self.receipt}' names '{path}', which is no file of the experiment: delete "
                    f"the receipt and run `snakemake` again"
                )
        return paths
