"""Settings files that `reclip init` writes: complete, commented and validated."""

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
from reclip.config.params import Params
from reclip.pipeline.plan import Plan
from reclip.presets.ownership import require_own

PRESETS = ("mini", "paper", "strong", "mini-strong", "voc")


def preset_text(name: str, **values: Any) -> str:
    """Return the settings file of the template `<name>.yaml`, with its parts and `values`."""
    templates = Environment(  # of YAML, where HTML escapes would do harm # nosec B701
        loader=PackageLoader("reclip.presets", "."), trim_blocks=True, keep_trailing_newline=True
    )
    return templates.get_template(f"{name}.yaml").render(values)


def write_settings(
    text: str, output: Path, changes: dict[str, Any] | None = None, preset: str | None = None
) -> Path:
    """Write a settings file with some values changed; keep its comments; return `output`.

    Args:
        changes: dotted key to value, e.g. {"rectify.lr": 0.02}; None removes a key.
        preset: the experiment's name if it is the preset's; another may not be taken already.

    Raises ReclipError: a key does not exist, the changed settings are invalid, or the experiment's
        name is reserved or taken by another source.
    """
    if changes:
        text = _changed(text, changes)
    plan = Plan(validate(Params, yaml.safe_load(text)))
    if plan.params.experiment != preset:
        require_own(plan.params, output, tuple(name for name in PRESETS if name != preset))
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
