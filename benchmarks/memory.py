"""Peak memory of finished jobs, against what the cost model predicts for the CPU.

    python benchmarks/memory.py --params FILE [--params FILE ...]

It reads what jobs noted in `logs/<experiment>/usage` (tracking must be on), if their results are
still fresh. It prints a line a stage: the job with the largest ratio of measured to predicted.
"""

from __future__ import annotations

import argparse

from reclip.cost.memory import NEED_OF
from reclip.cost.stage_work import Facts
from reclip.pipeline.plan import Plan
from reclip.tracking import usage

MEGABYTE = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", action="append", required=True, metavar="FILE")
    rows: dict[str, list[tuple[float, float, float, str]]] = {stage: [] for stage in NEED_OF}
    for file in parser.parse_args().params:
        plan = Plan.load(file)
        facts = Facts(plan)
        for job in plan.jobs:
            if (note := usage.read(job)) is None:
                continue
            measured = note["peak_memory_megabytes"] * usage.MEGABYTE / MEGABYTE
            predicted = NEED_OF[job.stage](facts, job.id).on_cpu / MEGABYTE
            name = f"{plan.params.experiment}, {job.key}"
            rows[job.stage].append((measured / predicted, measured, predicted, name))
    print("| stage | jobs | job with the largest ratio | measured, MB | predicted, MB | ratio |")
    print("| --- | --: | --- | --: | --: | --: |")
    for stage, found in rows.items():
        if found:
            ratio, measured, predicted, name = max(found)
            print(
                f"| `{stage}` | {len(found)} | {name} | {measured:,.0f} | {predicted:,.0f} | "
                f"{ratio:.2f} |"
            )


if __name__ == "__main__":
    main()
