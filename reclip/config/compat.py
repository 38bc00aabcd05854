"""Which values a settings file gets where it says nothing: `compat` picks a side.

`compat: paper` follows one rule. The paper's text comes first. Where it is silent, the official
code of its time decides. What the code contradicts the text by, or reads labels for, is a fault and
is not repeated. `compat: official` takes the code's side, except where it reads labels. Without
`compat`, the package's defaults hold, which are for own photos. A value in the file always wins.
Only the file says which weights are used.
"""

from __future__ import annotations

from typing import Any, Literal

from reclip.config.points import SETTINGS, By

Side = Literal["paper", "official"]

WEIGHTS = {"clip.model", "clip.pretrained", "clip.checkpoint"}
"""A tag beside a file of weights would say what the file's weights were trained with."""


def values(side: Side | None, section: str, dataset: str | None = None) -> dict[str, Any]:
    """Return key to value of a section, for settings that the file leaves open.

    dataset: kind of the dataset's source. Without one of the paper's datasets, settings whose value
        depends on it keep their default.
    """
    if side is None:
        return {}
    found = {}
    for point in SETTINGS:
        if point.section == section and point.key not in WEIGHTS:
            value = point.under(side)
            if not isinstance(value, By):
                found[point.name] = value
            elif dataset in By._fields:
                found[point.name] = getattr(value, dataset)
    return found
