"""Fill templates: files `<module>.<kind>.j2` beside the module that uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from reclip.common.markdown import code, md, prose


def fill(template: Path, **values: Any) -> str:
    """Return a template's text with `values`; those in HTML are escaped.

    A template of Markdown escapes names itself: `{{ name | md }}`, `{{ path | code }}` or
    `{{ sentence | prose }}`.
    """
    environment = Environment(  # Markdown needs no escaping # nosec B701
        autoescape=".html." in template.name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": md, "code": code, "prose": prose}
    return environment.from_string(template.read_text(encoding="utf-8")).render(values)
