"""Which values a settings file gets where it says nothing: `compat` picks a side.

`compat: paper` follows one rule. The paper's text comes first. Where it is silent, the official
code of its time decides. What the code contradicts the text by, or reads labels for, is a fault and
is not repeated. `compat: official` takes the code's side, except where it reads labels. Without
`compat`, the package's defaults hold, which are for own photos. A value in the file always wins.
"""

from __future__ import annotations

from typing import Any, Literal

from reclip.config.points import SETTINGS, By

Side = Literal["paper", "official"]


def values(side: Side | None, section: str, dataset: str | None = None) -> dict[str, Any]:
    """Return key to value of a section, for settings that the file leaves open.

    dataset: kind of the dataset's source. Without one of the paper's datasets, settings whose value
        depends on it keep their default.
    """
    if side is None:
        return {}
    found = {point.name: point.under(side) for point in SETTINGS if point.section == section}
    of_datasets = {name: value for name, value in found.items() if isinstance(value, By)}
    for name, value in of_datasets.items():
        found.pop(name)
        if dataset in By._fields:
            found[name] = getattr(value, dataset)
    return found
