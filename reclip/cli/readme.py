"""The README's tables and costs, made from results and settings: no number is typed by hand."""

from __future__ import annotations

import yaml

from reclip.common.errors import ReclipError
from reclip.config.load import validate
from reclip.config.models import Params
from reclip.pipeline.plan import Plan

BEGIN, END = "<!-- tables: begin (reclip readme) -->", "<!-- tables: end -->"
COST_BEGIN, COST_END = "<!-- cost: begin (reclip readme) -->", "<!-- cost: end -->"


def with_tables(text: str, plan: Plan) -> str:
    """`text` with all tables, and the check over seeds, between the markers of tables.

    Where there are markers of costs, what the paper's experiments cost comes between them.
    Raises ReclipError: the markers of tables, an end marker or a table are missing.
    """
    paths = [plan.job("tabulate", table).outputs[1] for table in plan.params.tables]
    if plan.params.check:
        paths.append(plan.job("check", plan.params.experiment).outputs[0])
    _require_markers(text, BEGIN, END)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ReclipError(f"'{missing[0]}' is missing: run `snakemake` and `snakemake mini_check`")
    blocks = [path.read_text(encoding="utf-8").strip() for path in paths]
    text = between(text, BEGIN, END, "\n\n".join(blocks))
    return between(text, COST_BEGIN, COST_END, paper_cost()) if COST_BEGIN in text else text


def between(text: str, begin: str, end: str, block: str) -> str:
    """`text` with `block` in place of what stands between two markers.

    Raises ReclipError: a marker is missing.
    """
    _require_markers(text, begin, end)
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    return f"{head}{begin}\n\n{block}\n\n{end}{tail}"


def _require_markers(text: str, begin: str, end: str) -> None:
    if begin not in text or end not in text:
        raise ReclipError(f"README.md has no markers '{begin}' and '{end}': put them back")


def paper_cost() -> str:
    """The costs of preset `paper` as Markdown, the same on every machine."""
    from reclip.cost.report import cost_markdown  # imports torch and timm
    from reclip.presets import preset_text

    params = validate(Params, yaml.safe_load(preset_text("paper")))
    return cost_markdown(Plan(params), use_index=False)
