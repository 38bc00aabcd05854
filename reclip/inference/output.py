"""Write the results of `reclip predict` into a folder, and keep those that are up to date. Files:

model.json               description of the model that made all results
records/NAME.json        what was found in a photo, and the checksums of the photo and its results
masks/NAME.png           palette PNG: the class number of every pixel of the photo
overlays/NAME.jpg        the photo with the colours of its classes and a legend
areas.csv                one row for each record
contact-sheet-1.jpg ...  thumbnails of all overlays
gallery.html             every photo with its mask, to look at in a browser
replaced/                files that somebody had put in the place of a result
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.common.files import canonical_json, file_sha256, write_text
from reclip.common.text import printable
from reclip.inference.drawing import jpeg, png
from reclip.inference.gallery import GALLERY, gallery_of_records, is_gallery
from reclip.inference.inputs import Input, folded, other_names
from reclip.inference.model_info import INFO, ModelInfo
from reclip.inference.out_folder import alone, require_usable
from reclip.inference.overview import AREAS, contact_sheets, own_contact_sheets, write_areas
from reclip.inference.own_files import OwnFiles
from reclip.inference.records import Record, find_records, record_file, write_record
from reclip.inference.segmentation import Segmentation

DIGITS = 6  # of means in a record: the rest would differ with the number of threads


@contextmanager
def output(folder: Path, info: ModelInfo, *, overwrite: bool) -> Iterator[Output]:
    """Context manager for writing results of one model; tables and pictures are made at its end.

    Raises ReclipError: the folder cannot be written, holds other files or the results of another
    model, or another process writes into it.
    """
    require_usable(folder)
    with alone(folder):
        writer = Output(folder, info, overwrite=overwrite)
        try:
            yield writer
        finally:
            writer.finish()


class Output:
    """The results of one model in a folder. Results of earlier calls are kept.

    overwrite: segment all photos again, and remove the results of another model.
    Raises ReclipError: the folder holds the results of another model.

    Attributes:
        files: the pictures in the folder.
        records: of all photos in the folder, by the name of their results.
        renamed: old and new name of results that share their plain name with another photo's.
    """

    def __init__(self, folder: Path, info: ModelInfo, *, overwrite: bool) -> None:
        self.folder, self.info, self.overwrite = folder, info, overwrite
        self.files = OwnFiles(folder)
        self.renamed: list[tuple[str, str]] = []
        found, damaged = find_records(folder)
        self.records = {record.name: record for record in found}
        self._damaged = damaged
        self._require_one_model()
        self._end_killed_renames()
        self._names: dict[str, str] = {}  # real path of a photo to the name of its results
        self._by_content = defaultdict(list)  # a photo's checksum and file name to such names
        for name, record in self.records.items():
            real = os.path.realpath(record.photo)
            if record.photo == real or real not in self._names:  # a photo goes before a link to it
                self._names[real] = name
            self._by_content[record.photo_sha256, Path(record.photo).name].append(name)
        self._taken = set(map(folded, self.records))

    def _require_one_model(self) -> None:
        """Write the model's description; with `overwrite`, remove another model's results before.

        All records are thus of the model that `model.json` describes, at any moment.
        """
        described = canonical_json(self.info.model_dump(mode="json"))
        path = self.folder / INFO
        if path.is_file() and path.read_bytes() != described.encode():
            if not self.overwrite:
                raise ReclipError(
                    f"--out: '{printable(self.folder)}' holds the results of another model: name "
                    f"another folder, or replace the results with --overwrite"
                )
            for name, record in self.records.items():
                self.files.remove(record.overlay, record.overlay_sha256)
                self.files.remove(record.mask, record.mask_sha256)
                record_file(self.folder, name).unlink()
            (self.folder / AREAS).unlink(missing_ok=True)
            self._make_room_for_gallery()
            (self.folder / GALLERY).unlink(missing_ok=True)
            self.records = {}
        write_text(path, described)

    def keeps(self, photo: Input, photo_sha256: str) -> bool:
        """Return whether the photo has a complete result that was made from this very content."""
        name = self._names.get(photo.real) or self._moved(photo, photo_sha256)
        if self.overwrite or name is None or self.records[name].photo_sha256 != photo_sha256:
            return False
        record = self.records[name]
        wanted = {record.mask: record.mask_sha256, record.overlay: record.overlay_sha256}
        return all(self.files.sha256(file) == known for file, known in wanted.items())

    def _moved(self, photo: Input, photo_sha256: str) -> str | None:
        """Return the name of the results of a photo that was moved here; it takes them along.

        Else all results would be doubled once a project or a folder of photos has moved.
        """
        for name in self._by_content[photo_sha256, photo.path.name]:
            if not os.path.lexists(self.records[name].photo):
                update = {"photo": os.path.abspath(photo.path)}
                self.records[name] = self.records[name].model_copy(update=update)
                self._names[photo.real] = name
                write_record(self.folder, self.records[name])
                return name
        return None

    def write(self, photo: Input, photo_sha256: str, found: Segmentation) -> Record:
        """Write overlay, mask and record. The record comes last: a photo with a record is done.

        Raises ReclipError: the files cannot be written.
        """
        name = self._names.get(photo.real) or self._new_name(photo)
        overlay, mask = f"overlays/{name}.jpg", f"masks/{name}.png"
        earlier = self.records.get(name)
        known = (earlier.overlay_sha256, earlier.mask_sha256) if earlier else ("", "")
        (height, width), means = found.mask.shape, found.uncertainty()
        record = Record(
            photo=os.path.abspath(photo.path),
            photo_sha256=photo_sha256,
            name=name,
            plain_name=earlier.plain_name if earlier else photo.name,
            height=height,
            width=width,
            overlay=overlay,
            overlay_sha256=self.files.put(overlay, jpeg(found.overlay()), known[0]),
            mask=mask,
            mask_sha256=self.files.put(mask, png(found.palette_image()), known[1]),
            pixels=tuple(found.pixels().tolist()),
            confidence=round(means.confidence, DIGITS),
            entropy=round(means.entropy, DIGITS),
            probabilities=tuple(round(p, DIGITS) for p in means.probabilities.tolist()),
        )
        write_record(self.folder, record)
        self.records[name], self._names[photo.real] = record, name
        self._taken.add(folded(name))
        return record

    def _new_name(self, photo: Input) -> str:
        """Return the photo's plain name, or one with digits of its path if another has that name.

        The other photo's results then get such a name as well. Under the plain name, a person
        would take the mask of one photo for that of the other.
        """
        plain = folded(photo.name)
        rivals = [name for name, of in self.records.items() if folded(of.plain_name) == plain]
        for name in rivals:
            if folded(name) == plain:
                self._rename(name)
        if not rivals and plain not in self._taken:
            return photo.name
        return self._free_name(photo.name, photo.real)

    def _free_name(self, plain: str, real: str) -> str:
        return next(n for n in other_names(plain, real) if folded(n) not in self._taken)

    def _rename(self, name: str) -> None:
        """Give results a name with digits of their photo's path."""
        record = self.records[name]
        new = self._free_name(record.plain_name, os.path.realpath(record.photo))
        update = {"name": new, "mask": f"masks/{new}.png", "overlay": f"overlays/{new}.jpg"}
        renamed = record.model_copy(update=update)
        for old_file, new_file in ((record.mask, renamed.mask), (record.overlay, renamed.overlay)):
            self.files.copy(old_file, new_file)
        write_record(self.folder, renamed)
        self._forget(record)
        self.records[new] = renamed
        self._taken.add(folded(new))
        self._names.update({real: new for real, of in self._names.items() if of == name})
        for of_content in self._by_content.values():
            of_content[:] = [new if of == name else of for of in of_content]
        self.renamed.append((name, new))

    def _forget(self, record: Record) -> None:
        """Remove results that have another name now; their record goes first."""
        record_file(self.folder, record.name).unlink()
        del self.records[record.name]
        for file in (record.mask, record.overlay):
            self.files.remove(file, self.files.sha256(file))

    def _end_killed_renames(self) -> None:
        """Remove the plain name's results of a photo that has results under its new name, too."""
        new = {record.photo for record in self.records.values() if record.name != record.plain_name}
        for record in list(self.records.values()):
            if record.name == record.plain_name and record.photo in new:
                self._forget(record)

    def record_of(self, photo: Input) -> Record:
        """Return the record of a photo that is done."""
        return self.records[self._names[photo.real]]

    def damaged(self) -> list[Path]:
        """Return the files of records that could not be read, and were not written again."""
        written = {record_file(self.folder, name) for name in self.records}
        return [path for path in self._damaged if path not in written]

    def finish(self) -> None:
        """Write the table, the contact sheets and the gallery of all records."""
        records = sorted(self.records.values(), key=lambda record: record.name)
        write_areas(self.folder, records, self.info.class_names)
        earlier = own_contact_sheets(self.folder)
        for file, content in contact_sheets(self.folder, records, self.info):
            self.files.put(file, content, earlier.pop(file, ""))
        for file, known in earlier.items():
            self.files.remove(file, known)
        if records:
            self._make_room_for_gallery()
            gallery_of_records(self.folder, records, self.info.class_names, self.info.palette)

    def _make_room_for_gallery(self) -> None:
        """Set a page aside that a person put in the place of ours."""
        page = self.folder / GALLERY
        if page.is_file() and not is_gallery(page):
            self.files.move_aside(GALLERY, file_sha256(page))
