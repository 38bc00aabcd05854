"""Whose results a folder `results/<experiment>` holds: two sources must not share an experiment.

A run of settings for other photos would find every result stale and replace it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.config.params import Params

RECORDS = ("plan/prepare/*.json", "data/*/receipt.json")
"""Files below an experiment's folder that record the source of a dataset."""


def free_name(name: str, images: str, output: Path, reserved: tuple[str, ...]) -> tuple[str, str]:
    """Return the name of an experiment for the photos `images`, and whose results took `name`.

    The name is `name`, `name-2`, ...: the first that is unused or has results of these photos. The
    second is empty if `name` is used by no other source.

    Args:
        output: the settings file to write; what it holds now does not count.
        reserved: names of presets.
    """
    mine = {_place({"kind": "folder", "images": images})}
    tried, taken_by, number = name, "", 1
    while owner := f"preset {tried}" if tried in reserved else other_owner(tried, mine, output):
        taken_by, number = taken_by or owner, number + 1
        tried = f"{name}-{number}"
    return tried, taken_by


def require_own(params: Params, output: Path, reserved: tuple[str, ...]) -> None:
    """Raise ReclipError if the experiment has a reserved name, or results of another source."""
    name = params.experiment
    sources = filter(None, (dataset.source for dataset in params.datasets.values()))
    mine = {_place(source.model_dump()) for source in sources}
    owner = f"preset {name}" if name in reserved else other_owner(name, mine, output)
    if owner:
        raise ReclipError(
            f"experiment '{name}' belongs to {owner}: choose another name, so that its results "
            f"are not replaced"
        )


def other_owner(experiment: str, mine: set[str], output: Path) -> str | None:
    """Return in words whose the experiment is; None if it is unused or shares a place of `mine`.

    Results of an unknown source belong to another. Settings files beside `output` and in the
    current folder count before their first run.
    """
    folder = Path("results") / experiment
    recorded = dict(_recorded(folder))
    groups = [(str(folder), set(recorded.values()))] if recorded else []
    groups += ((str(path), places) for path, places in _settings_files(experiment, output))
    for file, places in groups:
        if not places & mine:
            return f"{min(places)} ('{file}')"
    used = not recorded and folder.is_dir() and any(folder.iterdir())
    return f"results of unknown photos ('{folder}')" if used else None


def _recorded(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the records of an experiment's results, each with the place that it names."""
    for path in (found for pattern in RECORDS for found in sorted(folder.glob(pattern))):
        try:
            yield path, _place(read_json(path)["settings"]["source"])
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _settings_files(experiment: str, output: Path) -> Iterator[tuple[Path, set[str]]]:
    """Yield other settings files of the experiment, each with the places of its datasets."""
    folders = dict.fromkeys((Path("."), output.parent))
    for path in (p for folder in folders for p in sorted(folder.glob("*.y*ml"))):
        if path.resolve() == output.resolve():
            continue
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
            places = {_place(dataset["source"]) for dataset in data["datasets"].values()}
        except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError):
            continue  # no settings file
        if places and str(data.get("experiment")).casefold() == experiment.casefold():
            yield path, places


def _place(source: Mapping[str, Any]) -> str:
    """Return in words where a dataset's photos are from."""
    if source["kind"] == "folder":
        return f"photos of '{Path(source['images']).expanduser().resolve()}'"
    return f"dataset {source['kind']} {source.get('world', '')}".strip()
