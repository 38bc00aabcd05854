"""A command a stage, which runs one job of it; and `reclip pretrain`, which makes mini-clip."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import click

from reclip.cli.options import params_option
from reclip.pipeline.job import STAGES

STAGE_HELP = {
    "fetch": "Get a data set's archive, check and unpack it.",
    "prepare": "Index a data set: photos, class names, label maps.",
    "embed-text": "Embed the Query texts of a data set's classes.",
    "cache-features": "Compute CLIP's dense features once.",
    "hypothesise": "Guess which classes each image may hold.",
    "rectify": "Learn the bias of CLIP, without labels.",
    "pseudo-mask": "Write a teacher's masks of the training images.",
    "distill": "Train a DeepLabV2 student on those masks.",
    "probe": "Train a linear classifier on a student's frozen feature.",
    "evaluate": "Measure a run on the val split.",
    "package": "Write a trained model with its card into a folder of its own.",
    "tabulate": "Write one of the tables.",
    "plot": "Draw the figures.",
    "check": "Compare Query, rectified and distilled over the seeds.",
    "summarise": "Say what was found in a person's own photos, and what to change.",
}


def run_stage(stage: str, id: str | None, params_path: str, force: bool) -> None:
    """Run one job by its stage and id, unless its output is up to date."""
    from reclip.pipeline.plan import Plan

    plan = Plan.load(params_path)
    job = plan.job(stage, id or plan.params.experiment)
    reason = job.stale_because()
    if reason is None and not force:
        click.echo(f"{job.name}: up to date")
        return
    job.require_inputs(params_path)
    job.folder.mkdir(parents=True, exist_ok=True)
    job.receipt.unlink(missing_ok=True)
    job.write_wanted()
    main = importlib.import_module(job.module).main
    click.echo(f"{job.name}: {reason or 'made again by --force'}")
    began = time.monotonic()
    main(job)
    computed = time.monotonic()
    from reclip.tracking import sync

    sync.mirror(plan, job)
    click.echo(
        f"{job.name}: done in {computed - began:.1f} s (+ {time.monotonic() - computed:.1f} s sync)"
    )


def stage_command(stage: str) -> click.Command:
    kind = STAGES[stage][1]
    options = [
        params_option,
        click.option("--force", is_flag=True, help="Run even if the output is up to date."),
    ]
    if kind != "experiment":
        options.append(
            click.option(f"--{kind}", "id", required=True, help=f"Which {kind}, by its name.")
        )

    def command(params_path: str, force: bool, id: str | None = None) -> None:
        run_stage(stage, id, params_path, force)

    for option in options:
        command = option(command)
    return click.command(stage, help=STAGE_HELP[stage])(command)


@click.command()
@click.option("--output", default="results/mini/mini-clip", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", type=int, help="Fewer steps, for a trial.")
@click.option("--threads", default=1, show_default=True)
def pretrain(output: str, seed: int, steps: int | None, threads: int) -> None:
    """Train mini-clip on captioned scenes with planted biases."""
    from reclip.clip.pretrain import PretrainSettings
    from reclip.clip.pretrain import pretrain as run

    settings = PretrainSettings() if steps is None else PretrainSettings(steps=steps)
    run(settings, Path(output), seed=seed, threads=threads)
