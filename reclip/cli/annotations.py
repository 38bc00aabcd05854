"""`reclip annotations`: hand masks on to an annotation tool."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("predictions", metavar="DIR")
@click.option(
    "--format",
    required=True,
    type=click.Choice(["coco", "cvat", "label-studio"]),
    help="coco: JSON; cvat: its 'Segmentation mask 1.1'; label-studio: brush labels.",
)
@click.option(
    "--to",
    required=True,
    metavar="PATH",
    help="coco: a .json file; cvat: a .zip file or a folder; label-studio: a folder.",
)
@click.option(
    "--skip",
    multiple=True,
    metavar="CLASS",
    help="Leave out this class, such as a background. Can be repeated.",
)
@click.option(
    "--regions",
    is_flag=True,
    help="One annotation for each connected region.  [default: one for each class of a photo]",
)
@click.option(
    "--root",
    metavar="DIR",
    help="Name photos by their path below this folder.  [default: the deepest with all photos]",
)
@click.option(
    "--shape",
    type=click.Choice(["rle", "polygon"]),
    help="coco: run-length codes, or polygons along the pixels.  [default: rle]",
)
@click.option(
    "--image-prefix",
    metavar="URL",
    help="label-studio: stands before each photo's path.  [default: /data/local-files/?d=]",
)
@click.option("--overwrite", is_flag=True, help="Overwrite what this command wrote earlier.")
def annotations(
    predictions, format, to, skip, regions, root, shape, image_prefix, overwrite
) -> None:
    """Hand masks on to an annotation tool as a first draft.

    DIR is an output folder of `reclip predict`. The photos are not needed. They are named by their
    path below a common folder; the tool must know them by the same path.
    """
    given = {"coco": {"shape": shape}, "label-studio": {"image_prefix": image_prefix}}
    options = {key: value for key, value in given.pop(format, {}).items() if value is not None}
    for other, settings in given.items():
        for key, value in settings.items():
            if value is not None:
                option = f"--{key.replace('_', '-')}"
                raise click.UsageError(f"{option} is for --format {other} only: remove it")
    from reclip.inference.annotations.results import read_results
    from reclip.inference.annotations.write import write

    results = read_results(
        Path(predictions), skip=skip, regions=regions, root=Path(root) if root else None
    )
    notes = write(results, format, Path(to), overwrite=overwrite, **options)
    count = len(results.photos)
    click.echo(
        f"masks of {count} photo{'s' * (count != 1)} written to '{to}'; photos are named by their "
        f"path below '{results.root}'"
    )
    for note in notes:
        click.echo(f"note: {note}")
