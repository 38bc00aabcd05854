"""A job: one stage on a dataset, a run's seed, a run or a table, with its settings and inputs."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from reclip.common.files import canonical_json, text_sha256
from reclip.config import PARAMS
from reclip.pipeline import code_digest
from reclip.pipeline.stages import STAGES

PLAIN = TypeAdapter(dict[str, Any])  # gives settings as JSON types


@dataclass(frozen=True, eq=False)
class Job:
    """The argument of a stage's `main(job)`.

    Attributes:
        stage: a key of STAGES.
        id: name of the dataset, run, table or experiment.
        folder: its output folder; the receipt lies there too.
        plan_folder: folder of all plan files of the experiment.
        settings: everything that it may read of the settings file, as models or plain values.
        inputs: the jobs whose outputs it may read, by role.
        outputs: outputs with names known in advance (absolute, or relative to the project).
        environment: values that it reads but no result depends on.
        shares_folder: several jobs write into the folder, so the receipt's name holds the id.
        seed: of the run; None where it has none (method query) or for a job of another kind.
    """

    stage: str
    id: str
    folder: Path
    plan_folder: Path
    settings: dict[str, Any]
    inputs: dict[str, Job] = field(default_factory=dict)
    outputs: tuple[Path, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    shares_folder: bool = False
    seed: int | None = None

    @property
    def module(self) -> str:
        return STAGES[self.stage].module

    @property
    def kind(self) -> str:
        return STAGES[self.stage].kind

    @property
    def part(self) -> str:
        """The folder of a run's seed in that of its run; empty for a job of another kind."""
        return seed_part(self.seed) if self.kind == "seed" else ""

    @property
    def name(self) -> str:
        return f"{self.stage} {self.id}" + ("" if self.seed is None else f" seed {self.seed}")

    @property
    def key(self) -> str:
        """The job's name among those of its stage, for DVC and for files: `voc-ref/seed-0`."""
        return "/".join(filter(None, (self.id, self.part)))

    @property
    def options(self) -> str:
        """The options that name the job to the command of its stage, for a shell."""
        return options_of(self.stage, self.id, self.seed)

    @property
    def receipt(self) -> Path:
        return self.folder / (f"{self.id}.receipt.json" if self.shares_folder else "receipt.json")

    @property
    def plan_file(self) -> Path:
        """The file that holds `wanted` for both front ends."""
        return self.plan_folder / self.stage / f"{self.key}.json"

    @property
    def declared(self) -> tuple[Path, ...]:
        """The outputs that Snakemake knows; the receipt lists all of them."""
        return (self.receipt, *self.outputs)

    @property
    def unrecorded_marker(self) -> Path:
        """Marker file: exists while DVC has unrecorded results.

        It lies in an output of dvc.yaml's first stage. So that stage runs before `dvc repro`
        deletes anything, and checks what DVC has recorded (reclip.versioning.record).
        """
        return self.plan_folder / "unrecorded"

    @cached_property
    def with_all_before(self) -> list[Job]:
        """This job and all jobs whose outputs it depends on, the nearest first."""
        found = [self]
        for job in found:  # grows: breadth first
            found += [other for other in job.inputs.values() if other not in found]
        return found

    @cached_property
    def wanted(self) -> dict[str, Any]:
        """The receipt of a fresh output, without its list of outputs."""
        content = {
            "stage": self.stage,
            "id": self.id,
            "seed": self.seed,
            "settings": PLAIN.dump_python(self.settings, mode="json"),
            "modules": code_digest.modules_used(self.module),
            "inputs": {role: job.digest for role, job in sorted(self.inputs.items())},
        }
        return {**content, "digest": text_sha256(canonical_json(content))}

    @property
    def digest(self) -> str:
        return self.wanted["digest"]


def seed_part(seed: int | None) -> str:
    """Return the name of a seed's folder; None is the run of method query, which has no seed."""
    return "query" if seed is None else f"seed-{seed}"


def seed_of(part: str) -> int | None:
    """Return the seed that `seed_part` gave the name for."""
    return None if part == "query" else int(part.removeprefix("seed-"))


def options_of(stage: str, id: str, seed: int | None = None) -> str:
    """Return the options of a stage's command that name one of its jobs, for a shell."""
    named = STAGES[stage].names
    option = "" if named == "experiment" else f" --{named} {id}"
    return option if seed is None else f"{option} --seed {seed}"


def snakemake(target: str | Path, params: str) -> str:
    """Return the command that makes `target` with the settings file `params`, for errors."""
    return f"snakemake {target}{config_option(params)}"


def config_option(params: str) -> str:
    """Return Snakemake's option for a settings file, for a shell; empty for the default file.

    Snakemake strips quotes and reads the rest as YAML. So names that YAML may read as something
    else get quotes between spaces.
    """
    if params == PARAMS:
        return ""
    plain = re.fullmatch(r"[\w./][\w./ -]*\.ya?ml", params)
    name = params if plain else f" {json.dumps(params, ensure_ascii=False)} "
    return f" --config params={shlex.quote(name)}"
