"""The command line: one subcommand a stage, and a few that look at or write the whole.

Nothing heavy is imported before a command needs it: `reclip --help` must answer at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
import traceback
from pathlib import Path

import click

from reclip import __version__
from reclip.cost.machines import DEFAULT_GPU, GPUS
from reclip.errors import ReclipError
from reclip.files import accessible
from reclip.jobs import STAGES

params_option = click.option(
    "--params",
    "params_path",
    default="params.yaml",
    envvar="RECLIP_PARAMS",
    show_default=True,
    help="Settings file.",
)

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
    "tabulate": "Write one of the tables.",
    "plot": "Draw the figures.",
    "check": "Compare Query, rectified and distilled over the seeds.",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="reclip")
def cli() -> None:
    """Rectify the bias of CLIP for unsupervised semantic segmentation.

    Each stage of the pipeline is a command; `snakemake` runs them all in order.
    """


def run_stage(stage: str, id: str | None, params_path: str, force: bool) -> None:
    """Run one job by its stage and id, unless its output is up to date."""
    from reclip.plan import Plan

    plan = Plan.load(params_path)
    job = plan.job(stage, id or plan.params.experiment)
    reason = job.stale_because()
    if reason is None and not force:
        click.echo(f"{job.name}: up to date")
        return
    job.require_inputs()
    job.folder.mkdir(parents=True, exist_ok=True)
    job.receipt.unlink(missing_ok=True)
    job.write_wanted()
    began = time.monotonic()
    importlib.import_module(job.module).main(job)
    computed = time.monotonic()
    from reclip import tracking

    tracking.mirror(plan, job)
    click.echo(
        f"{job.name}: done in {computed - began:.1f} s "
        f"(+ {time.monotonic() - computed:.1f} s tracking)"
    )


def add_stage(stage: str) -> None:
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
    cli.command(stage, help=STAGE_HELP[stage])(command)


for _stage in STAGES:
    add_stage(_stage)


@cli.command()
@params_option
@click.option("--verify", is_flag=True, help="Also compare each output's checksum.")
def status(params_path: str, verify: bool) -> None:
    """Say for every output whether it is fresh, or stale and why.

    "aside" are those that a plain `snakemake` leaves out, as only the check asks for them.
    """
    from reclip.plan import Plan
    from reclip.staleness import report

    for line in report(Plan.load(params_path), verify=verify):
        click.echo(line)


@cli.command()
@params_option
@click.option("--cost", is_flag=True, help="Say instead what the jobs cost: FLOP, disk, hours.")
@click.option(
    "--gpu",
    type=click.Choice(list(GPUS)),
    help=f"With --cost: the GPU whose hours are estimated.  [default: {DEFAULT_GPU}]",
)
@click.option(
    "--calibrate/--no-calibrate",
    default=None,
    help="With --cost: time this machine for some seconds, or not.  [default: calibrate]",
)
@click.option("--markdown", is_flag=True, help="With --cost: Markdown, nothing of this machine.")
def plan(
    params_path: str, cost: bool, gpu: str | None, calibrate: bool | None, markdown: bool
) -> None:
    """Resolve the settings of every job into results/<experiment>/plan/, or say what they cost."""
    from reclip.plan import Plan

    if markdown and calibrate:
        raise click.UsageError("--markdown says nothing of this machine: leave out --calibrate")
    if cost:
        from reclip.cost.report import cost_markdown, cost_text

        planned, gpu = Plan.load(params_path), gpu or DEFAULT_GPU
        if markdown:
            click.echo(cost_markdown(planned, gpu))
        else:
            click.echo(cost_text(planned, gpu, measure=calibrate is not False))
        return
    if markdown or gpu or calibrate is not None:
        raise click.UsageError("--gpu, --calibrate and --markdown need --cost")
    jobs = Plan.load(params_path).jobs
    for job in jobs:
        job.write_wanted()
    click.echo(f"{len(jobs)} jobs")


@cli.command()
@click.argument("preset", type=click.Choice(["mini", "paper", "voc"]))
@click.option("--downloads", metavar="DIR", help="Where official archives are, or are put.")
@click.option(
    "--archive", "archives", multiple=True, metavar="[DATASET=]FILE",
    help="A data set's archive in its official layout.",
)  # fmt: skip
@click.option(
    "--folder", "folders", multiple=True, metavar="[DATASET=]DIR",
    help="A data set's unpacked folder in its official layout.",
)  # fmt: skip
@click.option("--checkpoint", metavar="FILE", help="paper: file of CLIP weights.")
@click.option("--limit", type=click.IntRange(min=1), help="The first N photos of each split only.")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE",
    help="Any setting, e.g. --set rectify.lr=0.02 (null removes it).",
)  # fmt: skip
@click.option("--output", default="params.yaml", show_default=True, help="Settings file to write.")
@click.option("--force", is_flag=True, help="Replace a settings file that is there.")
def init(preset, output, force, **given) -> None:
    """Write a settings file for an experiment.

    mini: the embedded default. paper: Tables 1 to 7 on the paper's data with real CLIP. voc: VOC's
    photos with mini-clip, a trial of the path.
    """
    from reclip.presets import write_preset
    from reclip.presets.options import changes

    if Path(output).exists() and not force:
        raise ReclipError(f"'{output}' is there already: choose another --output or add --force")
    path = write_preset(preset, Path(output), changes(preset, **given))
    hint = "" if output == "params.yaml" else f" --config params={output}"
    click.echo(f"wrote {path}; now run: snakemake{hint}")


@cli.command()
@params_option
def compat(params_path: str) -> None:
    """List what paper and official code contradict each other on, and which is taken."""
    from reclip.compat import DIFFERENCES
    from reclip.experiment import Experiment

    experiment = Experiment.load(params_path)
    click.echo(f"compat: {experiment.params.compat}; where settings say something else, they win")
    for option in DIFFERENCES:
        default, taken = experiment.choices(option.section, option.key)
        click.echo(
            f"{option.name:<34} default {default!s:<10} official {option.official!s:<12} "
            f"here {', '.join(map(str, taken)):<12} {option.what}"
        )


@cli.command()
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


@cli.command()
@params_option
@click.option("--check", is_flag=True, help="With the jobs that only the check asks for.")
@click.option("--plan", "only_plan", is_flag=True, help="What dvc.yaml's first stage does.")
def dvc(params_path: str, check: bool, only_plan: bool) -> None:
    """Write dvc.yaml from the settings: the same jobs as Snakemake's."""
    from reclip.plan import Plan

    plan = Plan.load(params_path)
    if only_plan:
        from reclip.unrecorded import before_repro

        before_repro(plan, params_path)
        return
    from reclip.dvc_pipeline import pipeline_text
    from reclip.files import write_text

    write_text("dvc.yaml", pipeline_text(plan, params_path, check=check))
    click.echo("wrote dvc.yaml; now run: dvc repro")


@cli.command()
@params_option
@click.option("--partial", is_flag=True, help="Leave out what is stale, instead of refusing.")
def record(params_path: str, partial: bool) -> None:
    """Have DVC keep the results, once none is stale; `dvc push` then sends them."""
    from reclip.plan import Plan
    from reclip.share import record as run

    click.echo(run(Plan.load(params_path), params_path, partial=partial))


@cli.command()
@params_option
@click.option("--remote", metavar="NAME", help="A DVC remote that is not the default one.")
def restore(params_path: str, remote: str | None) -> None:
    """Bring the recorded results back, as in a fresh clone, and check every file's checksum."""
    from reclip.plan import Plan
    from reclip.share import restore as run

    for sentence in run(Plan.load(params_path), params_path, remote=remote):
        click.echo(sentence, err=True)
    click.echo("every result is there, and as it was made")


@cli.command()
@params_option
def readme(params_path: str) -> None:
    """Put the tables of the experiment into README.md, between its markers."""
    from reclip.files import write_text
    from reclip.plan import Plan
    from reclip.readme import with_tables

    path = Path("README.md")
    write_text(path, with_tables(path.read_text(encoding="utf-8"), Plan.load(params_path)))
    click.echo("wrote the tables into README.md")


@cli.command("sync-mlflow")
@params_option
def sync_mlflow(params_path: str) -> None:
    """Log to MLflow every fresh result that is not there yet."""
    from reclip import tracking
    from reclip.plan import Plan

    try:
        click.echo(tracking.sync(Plan.load(params_path)))
    except ReclipError as error:
        if not os.environ.get(tracking.LATER):
            raise
        click.echo(f"tracking: {error}", err=True)  # the end of a Snakemake run, which is whole


@cli.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@params_option
@click.option(
    "--top", type=click.IntRange(min=0), default=10, show_default=True, metavar="N",
    help="How many classes: those whose IoU differs most.",
)  # fmt: skip
def compare(runs: tuple[str, ...], params_path: str, top: int) -> None:
    """Compare runs by their results: settings that differ, mIoU, the classes that differ most."""
    from reclip.compare import compare as run
    from reclip.plan import Plan

    click.echo(run(Plan.load(params_path), runs, top, params_path))


def _log_traceback() -> str:
    """Append the traceback to a log and say where; nothing where no log can be written."""
    path = Path("logs") / "reclip-errors.log"
    try:
        path.parent.mkdir(exist_ok=True)
        with open(path, "a", encoding="utf-8") as log:
            log.write(f"{' '.join(sys.argv)}\n{traceback.format_exc()}\n")
    except OSError:
        return ""
    return f" (traceback in {path})"


def main() -> None:
    """Entry point: a ReclipError is one sentence on stderr, its traceback goes to a log."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    try:
        with accessible():
            cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("stopped; run the same command again to go on", err=True)
        sys.exit(130)
    except ReclipError as error:
        click.echo(f"error: {error}{_log_traceback()}", err=True)
        sys.exit(1)
