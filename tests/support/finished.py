"""A tiny experiment, finished stage by stage by the commands that a person would type."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from support.at_the_shell import reclip
from support.tiny_experiment import TINY, merged

OF_DATASET = tuple(
    (stage, "--dataset", "voc")
    for stage in ("prepare", "embed-text", "cache-features", "hypothesise")
)


def finish(folder: Path, changes: dict[str, Any], commands: Iterable[tuple[str, ...]]) -> None:
    """Write the tiny experiment's settings with `changes`, and run commands of reclip."""
    params = merged(TINY, changes)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with contextlib.chdir(folder):
        for command in commands:
            said = reclip(*command)
            assert said.code == 0, (command, said)
