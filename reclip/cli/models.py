"""`reclip predict` and `reclip export`: use a trained model, or export it as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from reclip.cli.options import params_option
from reclip.common.errors import ReclipError
from reclip.common.text import listed, printable
from reclip.config.models import PrecisionSetting
from reclip.pipeline.job import snakemake
from reclip.pipeline.receipts import why_stale

CHECK_FIRST = 3  # photos that `predict` names
run_option = click.option(
    "--run", metavar="RUN", help="Use the model of this run of the settings file."
)


def packaged_model(run: str | None, model: str | None, params_path: str) -> Path:
    """Return the folder (or .onnx file) of the model that the options name.

    Raises ReclipError: no such run, or its model is missing or stale.
    """
    if (run is None) == (model is None):
        raise click.UsageError("name the model with either --run or --model")
    if model is not None:
        return Path(model)
    from reclip.pipeline.plan import Plan

    job = Plan.load(params_path).job("package", run)
    if reason := why_stale(job):
        raise ReclipError(
            f"the model of run '{run}' is stale ({reason}): run "
            f"`{snakemake(job.receipt, params_path)}` first"
        )
    return job.folder


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO|DIR...")
@run_option
@click.option(
    "--model",
    metavar="PATH",
    help="Use this folder, written by `reclip package`, or this .onnx file (needs no torch).",
)
@params_option
@click.option(
    "--out", default="predictions", show_default=True, metavar="DIR", help="Output folder."
)
@click.option(
    "--overwrite", is_flag=True, help="Overwrite existing results, including another model's."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--clip", metavar="FILE", help="CLIP weights of a rectified model, if they were moved."
)
@click.option(
    "--precision",
    type=click.Choice(get_args(PrecisionSetting)),
    default="float32",
    show_default=True,
    help="bfloat16 is faster; auto takes it where the hardware has it.",
)
def predict(photos, run, model, params_path, out, overwrite, device, clip, precision) -> None:
    """Segment photos: masks, overlays with a legend, area of each class, contact sheets.

    Folders are searched for photos at any depth. Photos that the same model has segmented are
    skipped unless their content changed, so an interrupted command can be resumed; --overwrite
    segments them again, as after a change of --precision. areas.csv lists
    all photos of the output folder. Its entropy says which to check first: 0 is certain, 1 knows
    nothing. A file that cannot be read does not stop the rest: it is named at the end, and the exit
    status is 1.
    """
    from reclip.inference.batch import predict as run_predict
    from reclip.inference.segmenter import Segmenter

    folder = packaged_model(run, model, params_path)
    segmenter = Segmenter.load(folder, device=device, clip=clip, precision=precision)
    found = run_predict(segmenter, photos, Path(out), overwrite=overwrite)
    done, failed = len(found.done), found.failed
    earlier = f" ({found.kept} of them earlier)" if found.kept else ""
    click.echo(f"{done} photo{'s' * (done != 1)} segmented{earlier}: see '{printable(out)}'")
    if moved := [printable(place) for place in found.replaced]:
        click.echo(
            f"kept files that somebody had put in the place of a result: {listed(moved)}",
            err=True,
        )
    for old, new in found.renamed:
        click.echo(
            f"renamed the results '{printable(old)}' to '{printable(new)}': another photo has that "
            f"name, too",
            err=True,
        )
    for sentence in failed:
        click.echo(f"failed: {printable(sentence)}", err=True)
    for sentence in found.damaged:
        click.echo(f"damaged: {printable(sentence)}", err=True)
    if done > 1:
        first = [f"{printable(record.name)} ({record.entropy:.2f})" for record in found.done]
        click.echo(f"check first, by their entropy: {', '.join(first[:CHECK_FIRST])}")
    if failed:
        total = done + len(failed)
        raise ReclipError(
            f"{len(failed)} of {total} photo{'s' * (total != 1)} failed, as named above: fix "
            f"or remove them and run again; the other photos are not segmented again"
        )
    if found.damaged:
        raise ReclipError("Some records are damaged, as named above: delete them and run again.")


@click.command()
@click.option("--onnx", required=True, metavar="FILE", help="The .onnx file to write.")
@run_option
@click.option("--model", metavar="PATH", help="Use this folder, written by `reclip package`.")
@params_option
def export(onnx, run, model, params_path) -> None:
    """Export a student as ONNX, with dynamic size and batch, class names and preprocessing.

    Input "image": uint8 (batch, height, width, 3), RGB. Output "logits": float32 (batch, classes,
    height / 8, width / 8), rounded up. For a mask, resize the logits by 8, cut them to the photo
    and take the best class. The file is kept only if it agrees with PyTorch at several sizes.
    """
    from reclip.inference.onnx_export import export_onnx

    found = export_onnx(packaged_model(run, model, params_path), Path(onnx))
    click.echo(
        f"wrote {onnx}: compared with PyTorch at {found.sizes} sizes, logits differ by at most "
        f"{found.difference:.1g}, and {found.same_class:.3%} of the pixels have the same class"
    )
