"""Stage `tabulate`: write one of the paper's tables as tidy CSV, as Markdown and as HTML."""

from __future__ import annotations

from reclip.common.errors import ReclipError
from reclip.common.files import read_json
from reclip.common.tables import write_table
from reclip.evaluate import results_table
from reclip.evaluate.results_table import COLUMNS, Found
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish


def main(job: Job) -> None:
    """Write `<table>.csv`, `<table>.md` and, for the report, `<table>.html`.

    The report shows HTML, but only links to Markdown.
    """
    table, settings = job.settings["table"], job.settings
    found = {run: measure(gathered) for run, gathered in job.inputs.items()}
    cells = results_table.cells(table, found)
    content = results_table.content(
        job.id, table.title, cells, settings["datasets"], settings["experiment"]
    )
    if settings["weights"]:
        content["notes"].append(" ".join(settings["weights"]))
    content["notes"] += results_table.doubts(cells, {run: [g] for run, g in job.inputs.items()})
    rows = results_table.tidy(job.id, cells)
    write_table(job.outputs[0], COLUMNS, (tuple(row[name] for name in COLUMNS) for row in rows))
    for path in job.outputs[1:]:
        results_table.write(path, content)
    finish(job, list(job.outputs))


def measure(gathered: Job) -> Found:
    """Return what the metrics of a run say.

    Raises ReclipError: the metrics were produced with other settings.
    """
    metrics = read_json(gathered.outputs[0])
    if metrics["job"] != gathered.digest:
        raise ReclipError(
            f"'{gathered.outputs[0]}' was produced with other settings: "
            f"run `snakemake {gathered.outputs[0]}`"
        )
    values = {one["seed"]: one["miou"] for one in metrics["seeds"]}
    return Found(values, results_table.protocol(metrics))
