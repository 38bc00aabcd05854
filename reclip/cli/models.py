"""`reclip predict`, `export`: trained models on photos of one's own, and for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from reclip.cli.options import params_option
from reclip.common.errors import ReclipError
from reclip.pipeline.job import snakemake
from reclip.pipeline.receipts import why_stale

run_option = click.option("--run", metavar="RUN", help="A run of the settings file, by its name.")
model_option = click.option(
    "--model", metavar="PATH", help="Instead: a folder that `reclip package` wrote."
)


def packaged_model(run: str | None, model: str | None, params_path: str) -> Path:
    """The model that the options name.

    Raises ReclipError: no such run, or its model is not made yet or of other settings.
    """
    if (run is None) == (model is None):
        raise click.UsageError("name the model by either --run or --model")
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
    help="Instead: a folder that `reclip package` wrote, or an .onnx file (needs no torch).",
)
@params_option
@click.option("--out", default="predictions", show_default=True, metavar="DIR", help="Where to.")
@click.option("--overwrite", is_flag=True, help="Make again what is there, also another model's.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--clip", metavar="FILE", help="A rectified CLIP's CLIP, if it lies elsewhere now.")
def predict(photos, run, model, params_path, out, overwrite, device, clip) -> None:
    """Segment photos: masks, overlays with a legend, each class's share, a contact sheet.

    Folders are searched for photos, however deep. Photos that the same model has done are left
    unless they changed since, so a stopped call goes on where it was. A file that is no photo does
    not stop the rest; it is named at the end, and the exit status is 1.
    """
    from reclip.inference.batch import predict as run_predict
    from reclip.inference.segmenter import Segmenter

    path = packaged_model(run, model, params_path)
    segmenter = Segmenter.load(path, device=device, clip=clip)
    found = run_predict(segmenter, photos, Path(out), overwrite=overwrite)
    kept = f" ({found.kept} were there already)" if found.kept else ""
    done = found.made + found.kept
    click.echo(f"{done} photo{'s' * (done != 1)} segmented{kept}: see '{out}'")
    for sentence in found.failed:
        click.echo(f"failed: {sentence}", err=True)
    if found.failed:
        total = done + len(found.failed)
        raise ReclipError(
            f"{len(found.failed)} of {total} photo{'s' * (total != 1)} failed, as named above: "
            f"mend or leave out what failed and run again, and only that is done"
        )


@click.command()
@click.option("--onnx", required=True, metavar="FILE", help="The .onnx file to write.")
@run_option
@model_option
@params_option
def export(onnx, run, model, params_path) -> None:
    """Write a student as ONNX: dynamic size and batch, class names and preprocessing inside.

    Input "image": uint8 (batch, height, width, 3), RGB. Output "logits": float32 (batch, classes,
    height / 8, width / 8), rounded up; resize by 8, cut, take the best class. The file is compared
    with PyTorch at several sizes before it is kept.
    """
    from reclip.inference.onnx_export import export_onnx

    found = export_onnx(packaged_model(run, model, params_path), Path(onnx))
    click.echo(
        f"wrote {onnx}: at {found.sizes} sizes it differs from PyTorch by at most "
        f"{found.difference:.1g} in a logit; {found.same_class:.3%} of the pixels have the same "
        f"class"
    )
