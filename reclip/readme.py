"""The README's tables, copied from the results so that no number in it is typed by hand."""

from __future__ import annotations

from reclip.errors import ReclipError
from reclip.plan import Plan

BEGIN, END = "<!-- tables: begin (reclip readme) -->", "<!-- tables: end -->"


def with_tables(text: str, plan: Plan) -> str:
    """`text` with all tables, and the check over seeds, between the two markers.

    Raises ReclipError: the markers or a table are missing.
    """
    if BEGIN not in text or END not in text:
        raise ReclipError(f"README.md has no markers '{BEGIN}' and '{END}': put them back")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    paths = [plan.job("tabulate", table).outputs[1] for table in plan.params.tables]
    if plan.params.check:
        paths.append(plan.job("check", plan.params.experiment).outputs[0])
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ReclipError(f"'{missing[0]}' is missing: run `snakemake` and `snakemake mini_check`")
    blocks = [path.read_text(encoding="utf-8").strip() for path in paths]
    return head + BEGIN + "\n\n" + "\n\n".join(blocks) + "\n\n" + END + tail
