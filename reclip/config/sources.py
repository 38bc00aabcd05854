"""Sources of datasets: a drawn world, an official archive, or a folder of the user's photos."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from reclip.config.base import Seed, Settings, without_password
from reclip.config.classes import Classes, checked

Place = Annotated[
    str,
    Field(min_length=1),
    without_password("write it into ~/.netrc, or download the file and name it here"),
]
"""A file, or a URL (file:, http:, https:)."""


class WorldSource(Settings):
    """A drawn dataset (`reclip.data.world`)."""

    kind: Literal["world"]
    world: Literal["voc", "context", "ade"]
    train: int = Field(400, gt=0)
    val: int = Field(200, gt=0)
    seed: Seed = 0


class ArchiveSource(Settings):
    """A dataset in its official layout, from an archive or an unpacked folder.

    With neither, the official archive is read from `downloads`, or downloaded to it.
    """

    archive: Place | None = None
    sha256: str | None = None  # of the archive, checked before unpacking
    folder: str | None = Field(None, min_length=1)
    limit: int | None = Field(None, gt=0)  # use the first N photos of each split (a quick trial)

    @model_validator(mode="after")
    def _one_place(self) -> ArchiveSource:
        if self.archive and self.folder:
            raise ValueError("give `archive` or `folder`, not both")
        return self


class VocSource(ArchiveSource):
    """PASCAL VOC 2012: 20 classes, the background ignored."""

    kind: Literal["voc"]


class PairedSource(ArchiveSource):
    """A dataset whose photos and labels are two downloads.

    labels: a file or folder of labels. None means those beside the photos in `folder`, or else the
        official file, which is read from `downloads`, or downloaded to it.
    """

    labels: Place | None = None
    labels_sha256: str | None = None


class ContextSource(PairedSource):
    """PASCAL Context, 59 classes: the photos of VOC 2010, with separate label maps.

    labels: `trainval_merged.json` (4,996 + 5,104 photos), or a folder or archive of label maps
        (4,998 + 5,105 photos, by the lists of VOC 2010). Maps are .mat or .png with the 459
        classes, or .png with 0 for no class and 1 to 59. None means the official json.
    """

    kind: Literal["context"]

    @property
    def has_json(self) -> bool:
        """Whether the labels are `trainval_merged.json`, and not maps."""
        return not self.labels or self.labels.endswith(".json")


class AdeSource(ArchiveSource):
    """ADE20K's scene parsing benchmark (ADEChallengeData2016): 150 classes."""

    kind: Literal["ade"]


class CityscapesSource(PairedSource):
    """Cityscapes: the 19 classes of its benchmark.

    archive, labels: `leftImg8bit_trainvaltest.zip` and `gtFine_trainvaltest.zip`, or a folder that
        holds `leftImg8bit` and one that holds `gtFine`. Both downloads need a login, so a person
        must put them into `downloads`.
    """

    kind: Literal["cityscapes"]


class CocoStuffSource(PairedSource):
    """COCO-Stuff (164k): the photos of COCO 2017, with separate label maps.

    archive: one archive with the folders `train2017` and `val2017`. Officially they are two, which
        are read from `downloads`, or downloaded to it.
    labels: a folder or archive of label maps, officially `stuffthingmaps_trainval2017.zip`.
    """

    @model_validator(mode="after")
    def _checked_file(self) -> CocoStuffSource:
        if self.sha256 and not self.archive:
            raise ValueError("`sha256` is of the file `archive`: name that file, or remove it")
        return self


class CocoStuff27Source(CocoStuffSource):
    """COCO-Stuff with the 27 classes of its hierarchy's second level."""

    kind: Literal["coco-stuff-27"]


class CocoStuff171Source(CocoStuffSource):
    """COCO-Stuff with all of its 171 classes."""

    kind: Literal["coco-stuff-171"]


def _with_synonyms(classes: Any) -> Any:
    """Accept `cat` for `[cat]`: a class with a single name.

    Raises ValueError: the classes are no list, or YAML has made something else of a name.
    """
    if not isinstance(classes, (list, tuple)):
        raise ValueError("the classes are not a list: write one name a line, after '- '")
    found = [names if isinstance(names, (list, tuple)) else [names] for names in classes]
    for number, names in enumerate(found):
        for name in names:
            if not isinstance(name, str):
                raise ValueError(
                    f"class {number} (counted from 0) has a name that YAML reads as {_kind(name)}, "
                    f"not as text: put the name in quotes"
                )
    return found


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return f"{str(value).lower()} (as it does yes, no, on and off)"
    if value is None:
        return "nothing"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return f"the date {value}" if isinstance(value, date) else "a list or a mapping"


class FolderSource(Settings):
    """The user's photos and class names (`reclip.data.folder`).

    images, val_images: folders, searched with all their subfolders.
    val_labels: folder of label maps `<photo's path in val_images>.png`. Class ids count from 0 in
        the order of `classes`; 255 is no class. Without labels nothing is evaluated.
    """

    kind: Literal["folder"]
    images: str = Field(min_length=1)
    classes: Annotated[Classes, BeforeValidator(_with_synonyms), AfterValidator(checked)]
    val_images: str | None = Field(None, min_length=1)
    val_labels: str | None = Field(None, min_length=1)
    limit: int | None = Field(None, gt=0)  # use the first N photos of each split (a quick trial)

    @model_validator(mode="after")
    def _photos_with_labels(self) -> FolderSource:
        if (self.val_images is None) != (self.val_labels is None):
            missing = "val_labels" if self.val_labels is None else "val_images"
            raise ValueError(f"`{missing}` is missing: give both photos and labels, or neither")
        return self

    @property
    def labelled(self) -> bool:
        return self.val_labels is not None


Source = (
    WorldSource
    | VocSource
    | ContextSource
    | AdeSource
    | CityscapesSource
    | CocoStuff27Source
    | CocoStuff171Source
    | FolderSource
)
