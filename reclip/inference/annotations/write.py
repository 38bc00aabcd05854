"""Write the masks of an output folder of `reclip predict` in the format of an annotation tool."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tqdm import tqdm

from reclip.common.errors import ReclipError
from reclip.inference.annotations import coco, cvat, label_studio
from reclip.inference.annotations.files import (
    Files,
    check_target,
    write_file,
    write_folder,
    write_zip,
)
from reclip.inference.annotations.results import Results

Format = Literal["coco", "cvat", "label-studio"]


def write(
    results: Results,
    format: Format,
    to: Path,
    *,
    shape: coco.Shape = "rle",
    image_prefix: str = label_studio.LOCAL_FILES,
    overwrite: bool = False,
) -> list[str]:
    """Write the annotations; return a sentence about each thing that the format cannot hold.

    to: a .json file for COCO; otherwise a folder, or a .zip file for CVAT.
    Raises ReclipError: `to` does not suit the format or is in use, a mask was changed, or the
    format cannot hold a name.
    """
    suffixes = {"coco": (".json",), "cvat": ("", ".zip"), "label-studio": ("",)}[format]
    suffix = to.suffix.lower() if to.suffix.lower() in (".json", ".zip") else ""
    if suffix not in suffixes:
        wanted = {".json": "a .json file", "": "a folder", ".zip": "a .zip file"}
        raise ReclipError(
            f"--to: '{to}' does not suit {format}: name {' or '.join(wanted[s] for s in suffixes)}"
        )
    notes: list[str] = []
    files: Files = {
        "coco": lambda: {to.name: lambda: coco.content(results, shape)},
        "cvat": lambda: cvat.files(results, notes),
        "label-studio": lambda: label_studio.files(results, image_prefix),
    }[format]()
    check_target(to, None if suffix else files, overwrite=overwrite)
    with tqdm(total=len(results.photos), desc="writing", unit="photo", disable=None) as bar:
        results.on_read = bar.update
        if suffix == ".zip":
            write_zip(to, files)
        elif suffix:
            write_file(to, files[to.name]())
        else:
            write_folder(to, files)
    return notes
