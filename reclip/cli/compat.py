"""`reclip compat`: where paper, official code and this package could differ, and who decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from reclip.cli.options import plan_option
from reclip.cli.readme import between
from reclip.common.files import write_text
from reclip.config.params import Params
from reclip.config.points import KINDS, NO_SETTING, SETTINGS, By, Point
from reclip.config.resolve import Experiment
from reclip.pipeline.plan import Plan

BEGIN, END = "<!-- compat: begin (reclip compat) -->", "<!-- compat: end -->"


@click.command()
@plan_option
@click.option(
    "--write",
    type=click.Path(path_type=Path),
    help="Write the list as Markdown between the markers of this file instead.",
)
def compat(plan: Plan, write: Path | None) -> None:
    """List every point where paper and official code could differ, with its source.

    Each line has the value in these settings, the package's default, the official code's value, the
    source, and what is known of the difference.
    """
    if write:
        text = write.read_text(encoding="utf-8")
        write_text(write, between(text, BEGIN, END, compat_markdown()))
        return
    params = plan.params
    click.echo(
        f"compat: {params.compat or 'none'}, recipe: {params.recipe or 'none'}; a value in the "
        f"settings file wins over both"
    )
    for kind, what in KINDS.items():
        click.echo(f"\n{kind}: {what}")
        for point in (p for p in SETTINGS if p.kind == kind):
            click.echo(_line(point, _shown(values_here(plan.experiment, point))))
        for point in (p for p in NO_SETTING if p.kind == kind):
            click.echo(_line(point, _shown(point.paper)))


def values_here(experiment: Experiment, point: Point) -> Any:
    """Return the value of a point's setting; several, with slashes, if datasets differ."""
    if point.section == "clip":
        return getattr(experiment.clip, point.name)
    if point.section == "seeds":
        return getattr(experiment.params.seeds, point.name)
    found = [
        getattr(experiment.section(dataset, point.section), point.name)
        for dataset in experiment.params.datasets
    ]
    if all(value == found[0] for value in found):
        return found[0]
    return " / ".join(map(_shown, found))


def _line(point: Point, here: str) -> str:
    others = []
    if point.section:
        others.append(f"default {_shown(default(point))}")
    if point.under("official") != point.paper:
        others.append(f"official {_shown(point.under('official'))}")
    said = "; ".join(filter(None, (point.source, point.effect, _rows(point))))
    return f"  {point.key:<34}  {here:<18}  {', '.join(others):<34} {said}".rstrip()


def compat_markdown() -> str:
    """Return all points as Markdown, a table for each kind; nothing depends on settings."""
    parts = []
    for kind, what in KINDS.items():
        parts.append(f"**{kind.capitalize()}**: {what}.")
        settings = [p for p in SETTINGS if p.kind == kind]
        if settings:
            columns: dict[str, Callable[[Point], Any]] = {
                "setting": lambda p: f"`{p.key}`",
                "paper": lambda p: _shown(p.paper),
                "official": lambda p: _shown(p.under("official")),
                "default": lambda p: _shown(default(p)),
                "source": lambda p: p.source,
                "what is known": lambda p: "; ".join(filter(None, (p.effect, _rows(p)))),
            }
            parts.append(_table(columns, settings))
        others = [p for p in NO_SETTING if p.kind == kind]
        if others:
            columns = {
                "no setting": lambda p: p.key,
                "here": lambda p: p.paper,
                "source": lambda p: p.source,
                "what is known": lambda p: p.effect,
            }
            parts.append(_table(columns, others))
    return "\n\n".join(parts)


def _table(columns: dict[str, Callable[[Point], Any]], points: list[Point]) -> str:
    rows = [list(columns), ["---"] * len(columns)]
    rows += [[str(cell(point)) for cell in columns.values()] for point in points]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def default(point: Point) -> Any:
    """Return the package's default of a setting."""
    section = Params.model_fields[point.section].annotation
    return section.model_fields[point.name].default


def _shown(value: Any) -> str:
    """Return a value in words; with slashes, if it differs by dataset."""
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    if isinstance(value, tuple) and not isinstance(value, By):
        return ", ".join(map(str, value)) or "none"
    return str(value) if value != {} else "none"


def _rows(point: Point) -> str:
    return f"other rows: {point.rows}" if point.rows else ""
