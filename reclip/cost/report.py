"""`reclip plan --cost`: the costs of every stage, with the assumptions and measurements."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd

from reclip.common.templates import fill
from reclip.config.models import ComputeSettings, PrecisionSetting
from reclip.config.update_recipes import UPDATE_RECIPES
from reclip.cost import machines
from reclip.cost.calibrate import calibrate
from reclip.cost.facts import Facts
from reclip.cost.machines import DEFAULT_GPU, GPUS, PREFETCHING, TRAINING, Rates, Work, seconds
from reclip.cost.stage_work import WORK_OF
from reclip.pipeline import recipes
from reclip.pipeline.plan import Plan
from reclip.pipeline.stages import STAGES


def job_costs(facts: Facts) -> pd.DataFrame:
    """Return a row for each job, in order. No data or weights are needed.

    Columns: stage; id; seed; dataset ("" for tables and figures); trainings (1 for a job that
    trains); work; loaders (threads that prefetch for it); for_check (only `<experiment>_check` asks
    for its seed).
    """
    rows = [
        {
            "stage": stage,
            "id": id,
            "seed": seed,
            "dataset": facts.dataset(id) if of == "run" else id if of == "dataset" else "",
            "trainings": int(stage in TRAINING),
            "work": work,
            "loaders": facts.plan.params.compute.loaders if stage in PREFETCHING else 0,
            "for_check": stage == "check" or seed not in own,
        }
        for stage, of in ((stage, STAGES[stage].names) for stage in STAGES)
        for id in facts.plan.ids(stage)
        # A run's seeds do the same work.
        for work in [WORK_OF[stage](facts, id) if stage in WORK_OF else Work()]
        for own in [recipes.seeds(facts.experiment, stage, id, check=False)]
        for seed in facts.plan.seeds(stage, id)
    ]
    # Of objects, or pandas would make NaN of None.
    return pd.DataFrame(rows).assign(seed=pd.Series([row["seed"] for row in rows], dtype=object))


def summary(
    costs: pd.DataFrame,
    gpu: Rates,
    here: Rates | None,
    at_once: int,
    precision: PrecisionSetting = "float32",
) -> pd.DataFrame:
    """Return a row for each stage and dataset, in order, then the total and the check's part.

    Columns: jobs, trainings (one a seed), flops, bytes, gpu_hours and, with `here`, hours_here.
    at_once: number of jobs that run at the same time on this machine.
    precision: `compute.precision` of the settings.
    """
    estimated = costs["stage"].isin(WORK_OF)
    jobs = costs.assign(
        stage=costs["stage"].where(estimated, "metrics, tables, figures"),
        dataset=costs["dataset"].where(estimated, ""),
        jobs=1,
        flops=[work.flops for work in costs["work"]],
        bytes=[work.written for work in costs["work"]],
        gpu_hours=[
            seconds(job.work, gpu.of(job.stage, precision), job.loaders) / 3600
            for job in costs.itertuples()
        ],
    )
    if here:
        # On a CPU all cores compute, so prefetching threads save no time.
        jobs["hours_here"] = [
            seconds(job.work, here.of(job.stage, precision), job.loaders * bool(here.gpu))
            / at_once
            / 3600
            for job in costs.itertuples()
        ]
    parts = [jobs, jobs.assign(stage="total", dataset="")]
    if jobs["for_check"].any():
        check = jobs[jobs["for_check"]]
        parts.append(check.assign(stage="of it for the check alone", dataset=""))
    groups = [part.groupby(["stage", "dataset"], sort=False) for part in parts]
    return pd.concat([group.sum(numeric_only=True) for group in groups]).reset_index()


def amount(value: float, unit: str = "") -> str:
    """Return three digits with a prefix; an empty text for 0."""
    for prefix, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:
            return f"{_digits(value / size, 3)} {prefix}{unit}"
    return f"{value:.0f} {unit}".strip() if value else ""


def hours(value: float) -> str:
    """Return two digits, with at most two decimals."""
    return _digits(value, 2) if value >= 0.005 else "<0.01"


def _digits(value: float, count: int) -> str:
    """Round to `count` digits and write without exponent."""
    value = float(f"{value:.{count}g}")
    whole = len(str(int(value))) if value >= 1 else 0
    return f"{value:,.{min(2, max(0, count - whole))}f}"


def cost_text(plan: Plan, gpu: str = DEFAULT_GPU, measure: bool = True) -> str:
    """Return the costs of a plan for a terminal.

    measure: also time this machine for some seconds and estimate the hours here.
    Raises ReclipError: an unknown CLIP or backbone, or a machine that cannot be measured.
    """
    facts = Facts(plan)
    here = calibrate(facts, next(iter(facts.census))) if measure else None
    table, notes = _table_and_notes(facts, gpu, here)
    tables = [table, recipes_table(plan, gpu, here)]
    said = [_aligned(table) for table in tables if not table.empty]
    return "\n".join(["\n\n".join(said), "", *notes])


def _aligned(table: pd.DataFrame) -> str:
    """Return a table for a terminal: names to the left, where pandas writes all to the right."""
    for name in ("stage", "dataset", "recipe"):
        if name in table:
            width = max(len(name), table[name].str.len().max())
            table = table.assign(**{name: table[name].str.ljust(width)})
            table = table.rename(columns={name: name.ljust(width)})
    return table.to_string(index=False)


def cost_markdown(plan: Plan, gpu: str = DEFAULT_GPU, use_index: bool = True) -> str:
    """Return the costs as Markdown, without anything that depends on this machine.

    use_index: count the photos of prepared datasets; the text then depends on them.
    """
    table, notes = _table_and_notes(Facts(plan, use_index), gpu, None)
    tables = [table, recipes_table(plan, gpu, None, use_index)]
    said = [_in_markdown(table) for table in tables if not table.empty]
    return "\n\n".join([*said, "\n".join(f"- {note}" for note in notes)])


def _in_markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown; pandas' `to_markdown` needs another package (tabulate)."""
    names = len(table.columns.intersection(["stage", "dataset", "recipe"]))
    marks = ["---"] * names + ["---:"] * (len(table.columns) - names)
    rows = (table.columns, marks, *table.to_numpy())
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def recipes_table(plan: Plan, gpu: str, here: Rates | None, use_index: bool = True) -> pd.DataFrame:
    """Return the rectifications under each named recipe, in words; empty if none is chosen.

    Each recipe has a row with `compute.compile` and one without.

    Columns: recipe; batch and lr; rectify jobs; updates of all these jobs; hours of these, and of
    all jobs of the plan.
    """
    rows, compute = [], plan.params.compute
    variants = itertools.product(UPDATE_RECIPES.items(), (False, True))
    for (name, values), compiled in variants if plan.params.recipe else ():
        changed = compute.model_copy(update={"compile": compiled})
        params = plan.params.model_copy(update={"recipe": name, "compute": changed})
        facts = Facts(Plan(params), use_index)
        costs = job_costs(facts)
        own = costs[costs["stage"] == "rectify"]
        chosen = (name, compiled) == (plan.params.recipe, compute.compile)
        row = {
            "recipe": name + ", compiled" * compiled + " (chosen)" * chosen,
            "batch": str(values["batch"]),
            "lr": str(values["lr"]),
            "rectify jobs": str(len(own)),
            "updates": f"{sum(work.steps for work in own['work']):,.0f}",
        }
        for place, rates in ((f", {GPUS[gpu].gpu} (estimate)", GPUS[gpu]), (" here", here)):
            if rates:
                for what, jobs in (("hours to rectify", own), ("hours in all", costs)):
                    row[what + place] = hours(total_hours(jobs, rates, compute))
        rows.append(row)
    return pd.DataFrame(rows)


def total_hours(jobs: pd.DataFrame, rates: Rates, compute: ComputeSettings) -> float:
    """Return the hours of jobs with these settings, as many at once as the machine runs."""
    total = sum(
        seconds(job.work, rates.of(job.stage, compute.precision), job.loaders * bool(rates.gpu))
        for job in jobs.itertuples()
    )
    return total / machines.jobs_at_once(compute.threads, rates) / 3600


def _table_and_notes(facts: Facts, gpu: str, here: Rates | None) -> tuple[pd.DataFrame, list[str]]:
    """Return the summary in words, and the assumptions and measurements behind it."""
    compute, rates = facts.plan.params.compute, GPUS[gpu]
    at_once = machines.jobs_at_once(compute.threads, here) if here else 1
    rows = summary(job_costs(facts), rates, here, at_once, compute.precision)
    table = pd.DataFrame(
        {
            "stage": rows["stage"],
            "dataset": rows["dataset"],
            "jobs": rows["jobs"].map(str),
            "trainings": rows["trainings"].map(lambda number: str(number or "")),
            "FLOP": rows["flops"].map(amount),
            "disk": rows["bytes"].map(lambda number: amount(number, "B")),
            f"hours, {rates.gpu} (estimate)": rows["gpu_hours"].map(hours),
        }
    )
    if here:
        table["hours here"] = rows["hours_here"].map(hours)
    origins: dict[str, list[str]] = {}
    for dataset, census in facts.census.items():
        origins.setdefault(census.origin, []).append(dataset)
    notes = fill(
        Path(__file__).with_suffix(".notes.j2"),
        photos="; ".join(f"{', '.join(named)}: {origin}" for origin, named in origins.items()),
        compute=compute,
        rates=rates,
        assumed=machines,
        here=here,
        graphs=compute.compile or facts.plan.params.recipe,
    )
    return table, notes.splitlines()
