"""Settings files that `reclip init` writes: complete, commented, validated beforehand."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader
from ruamel.yaml import YAML

from reclip.common.errors import ReclipError
from reclip.common.files import write_text
from reclip.common.text import nearest
from reclip.config.load import validate
from reclip.config.models import Params
from reclip.pipeline.plan import Plan

PRESETS = ("mini", "paper", "voc")
CHOSEN = "folder"  # the preset whose values are chosen for what a person has


def preset_text(name: str) -> str:
    """A preset with the parts that presets share (the runs and tables of the paper) filled in."""
    return rendered(name)


def rendered(name: str, **values: Any) -> str:
    """The template `<name>.yaml` with `values` filled in."""
    loader = PackageLoader("reclip.presets", ".")
    parts = Environment(  # of YAML, which has nothing to escape # nosec B701
        loader=loader, trim_blocks=True, keep_trailing_newline=True
    )
    return parts.get_template(f"{name}.yaml").render(values)


def write_preset(name: str, output: Path, changes: dict[str, Any] | None = None) -> Path:
    """Write preset `name` with some values changed; returns `output`.

    changes: dotted key to value, e.g. {"rectify.lr": 0.02}; None removes a key. Comments stay.

    Raises ReclipError: a key that leads nowhere, or a value that the settings refuse.
    """
    return write_settings(preset_text(name), output, changes)


def write_settings(text: str, output: Path, changes: dict[str, Any] | None = None) -> Path:
    """The same of a settings file's text."""
    if changes:
        text = _changed(text, changes)
    Plan(validate(Params, yaml.safe_load(text)))
    write_text(output, text)
    return output


def _changed(text: str, changes: dict[str, Any]) -> str:
    editor = YAML()
    editor.width = 4096
    editor.preserve_quotes = True
    editor.indent(mapping=2, sequence=4, offset=2)
    data = editor.load(text)
    for key, value in changes.items():
        *path, last = key.split(".")
        at = data
        for part in path:
            if part not in at and at is data and part not in Params.model_fields:
                raise ReclipError(f"no setting '{key}'{nearest(part, Params.model_fields)}")
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise ReclipError(f"no setting '{key}': '{part}' holds a value, not a section")
        if value is None:
            at.pop(last, None)
        else:
            at[last] = value
    out = io.StringIO()
    editor.dump(data, out)
    return out.getvalue()
