"""Generate the README's tables and costs from results and settings; nothing is typed by hand."""

from __future__ import annotations

import yaml

from reclip.common.errors import ReclipError
from reclip.config.load import validate
from reclip.config.models import Params
from reclip.pipeline.plan import Plan

BEGIN, END = "<!-- tables: begin (reclip readme) -->", "<!-- tables: end -->"
COST_BEGIN, COST_END = "<!-- cost: begin (reclip readme) -->", "<!-- cost: end -->"


def with_tables(text: str, plan: Plan) -> str:
    """Return `text` with all tables, and the check over seeds, between the table markers.

    If `text` has cost markers, the costs of the paper's experiments go between them.
    Raises ReclipError: the table markers, an end marker or a table are missing.
    """
    _require_markers(text, BEGIN, END)
    paths = [plan.job("tabulate", table).outputs[1] for table in plan.params.tables]
    if plan.params.check:
        paths.append(plan.job("check", plan.params.experiment).outputs[0])
    if missing := next((path for path in paths if not path.is_file()), None):
        raise ReclipError(f"'{missing}' is missing: run `snakemake` and `snakemake mini_check`")
    blocks = [path.read_text(encoding="utf-8").strip() for path in paths]
    text = between(text, BEGIN, END, "\n\n".join(blocks))
    return between(text, COST_BEGIN, COST_END, paper_cost()) if COST_BEGIN in text else text


def between(text: str, begin: str, end: str, block: str) -> str:
    """Return `text` with `block` between two markers, in place of the old text.

    Raises ReclipError: a marker is missing.
    """
    _require_markers(text, begin, end)
    head, rest = text.split(begin)
    return f"{head}{begin}\n\n{block}\n\n{end}{rest.split(end)[1]}"


def _require_markers(text: str, begin: str, end: str) -> None:
    if begin not in text or end not in text:
        raise ReclipError(f"README.md has no markers '{begin}' and '{end}': restore them")


def paper_cost() -> str:
    """Return the costs of preset `paper` as Markdown, the same on every machine."""
    from reclip.cost.report import cost_markdown  # imports torch and timm
    from reclip.presets import preset_text

    params = validate(Params, yaml.safe_load(preset_text("paper")))
    return cost_markdown(Plan(params), use_index=False)
