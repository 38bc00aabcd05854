"""Generate the README's tables and costs from results and settings; nothing is typed by hand."""

from __future__ import annotations

from json import JSONDecodeError
from pathlib import Path

import yaml

from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.config.load import validate
from reclip.config.params import Params
from reclip.pipeline.artifacts import CHECK_FACTS
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan

BEGIN, END = "<!-- tables: begin (reclip readme) -->", "<!-- tables: end -->"
COST_BEGIN, COST_END = "<!-- cost: begin (reclip readme) -->", "<!-- cost: end -->"


def with_tables(text: str, plan: Plan) -> str:
    """Return `text` with all tables between the table markers.

    They are those of the check, with its verdicts, if it was made from the present settings and
    code; else those of the demo. If `text` has cost markers, the costs of the paper's experiments
    go between them.
    Raises ReclipError: the table markers, an end marker or a table are missing.
    """
    _require_markers(text, BEGIN, END)
    text = between(text, BEGIN, END, "\n\n".join(_of_check(plan) or _of_demo(plan)))
    return between(text, COST_BEGIN, COST_END, paper_cost()) if COST_BEGIN in text else text


def _of_check(plan: Plan) -> list[str] | None:
    """Return the check's tables and the first part of its page; None if it is stale or absent."""
    check = plan.params.check
    if not check:
        return None
    job = plan.job("check", plan.params.experiment)
    if not _is_fresh(job):
        return None
    said = f"{len(check.seeds)} seeds: `snakemake {job.id}_check`."
    tables = [_text(job.folder / f"{table}.md") for table in plan.params.tables]
    page, _, _ = _text(job.outputs[0]).partition("\n### ")
    return [said, *tables, page.strip()]


def _is_fresh(job: Job) -> bool:
    """Return whether the check's results are those of its job.

    One of them says so itself, because git has no receipts.
    """
    try:
        said = read_json(job.folder / CHECK_FACTS)["job"]
    except (OSError, JSONDecodeError, KeyError, TypeError):
        return False
    return said == job.digest and all(path.is_file() for path in job.outputs)


def _of_demo(plan: Plan) -> list[str]:
    paths = [plan.job("tabulate", table).outputs[1] for table in plan.params.tables]
    if missing := next((path for path in paths if not path.is_file()), None):
        raise ReclipError(f"'{missing}' is missing: run `snakemake`")
    counts = sorted({len(plan.experiment.seeds(run)) for run in plan.experiment.tabled} - {0})
    number = " or ".join(map(str, counts or [1]))
    return [f"{number} seed{'s' * (number != '1')}: `make demo`.", *map(_text, paths)]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def between(text: str, begin: str, end: str, block: str) -> str:
    """Return `text` with `block` between two markers, in place of the old text.

    Raises ReclipError: a marker is missing.
    """
    _require_markers(text, begin, end)
    head, rest = text.split(begin)
    return f"{head}{begin}\n\n{block}\n\n{end}{rest.split(end)[1]}"


def _require_markers(text: str, begin: str, end: str) -> None:
    if begin not in text or end not in text:
        raise ReclipError(f"The page has no markers '{begin}' and '{end}': restore them")


def paper_cost() -> str:
    """Return the costs of preset `paper` as Markdown, the same on every machine."""
    from reclip.cost.report import cost_markdown  # imports torch and timm
    from reclip.presets import preset_text

    params = validate(Params, yaml.safe_load(preset_text("paper")))
    return cost_markdown(Plan(params), use_index=False)
