"""Results of `reclip predict` belong to a photo's content; nothing of anybody is lost."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256, write_json
from reclip.data.images import read_label
from reclip.data.reading import Piece
from reclip.inference import output, own_files
from reclip.inference.batch import predict as run_predict
from reclip.inference.gallery import is_gallery
from reclip.inference.inputs import find_photos
from reclip.inference.model_info import read_folder
from reclip.inference.out_folder import LOCK
from reclip.inference.records import find_records, read_records
from reclip.inference.segmenter import Segmenter
from reclip.inference.torch_backend import load_model
from support.at_the_shell import one_sentence
from support.predicting import areas, predict, written


@pytest.fixture
def days(here: Path, trained: Path) -> tuple[Path, Path]:
    """Two folders, each with another photo of the name IMG_1.png; the current folder is empty."""
    found = []
    for number, day in enumerate(("mon", "tue")):
        source = trained / f"results/tiny/data/voc/images/val-0000{number}.png"
        folder = here / "photos" / day
        folder.mkdir(parents=True)
        shutil.copyfile(source, folder / "IMG_1.png")
        found.append(folder)
    return found[0], found[1]


def right(model: Path, out: str = "predictions") -> bool:
    """Whether each row of areas.csv has the mask and the numbers of its own photo."""
    segmenter = Segmenter.load(model, device="cpu")
    for row in areas(out):
        found = segmenter(row["photo"])
        assert row["sha256"] == file_sha256(row["photo"])
        assert (read_label(Path(out, row["mask"])) == found.mask).all(), row["photo"]
        assert [row[f"share: {n}"] for n in found.class_names] == [
            f"{share:.6f}" for share in found.area().values()
        ]
    return True


# ---------------------------------------------------------------- whose result it is


def digits(photo: Path) -> str:
    """What tells the results of photos of one name apart."""
    return sha256(str(photo).encode()).hexdigest()[:8]


@pytest.mark.parametrize("order", itertools.permutations(range(2)))
def test_photos_of_one_name_from_two_folders_keep_their_own_mask_and_row(
    days: tuple[Path, Path], student: Path, order: tuple[int, int]
) -> None:
    first, second = (days[k] for k in order)
    assert predict(student, first).code == predict(student, second).code == 0
    named = {str(day / "IMG_1.png"): digits(day / "IMG_1.png") for day in days}
    rows = {row["photo"]: row["mask"] for row in areas()}
    assert rows == {photo: f"masks/IMG_1-{of}.png" for photo, of in named.items()}
    assert not Path("predictions/masks/IMG_1.png").exists()  # whose would it be?
    assert right(student)
    before = written()
    for folders in ([second], [first], [first, second], [first.parent]):
        said = predict(student, *folders)
        assert "of them earlier" in said.out and written() == before


def test_a_photo_replaced_by_an_older_file_is_segmented_again(days, student: Path) -> None:
    """Also by one of the same size and time, which a time or a size cannot tell."""
    mon, tue = (day / "IMG_1.png" for day in days)
    os.utime(tue, (1, 1))
    predict(student, mon)
    shutil.copy2(tue, mon)
    assert "earlier" not in predict(student, mon).out and right(student) and len(areas()) == 1
    before = mon.stat()
    content = bytearray(mon.read_bytes())
    content[-5] ^= 1  # of the last chunk's checksum, which Pillow does not read
    mon.write_bytes(content)
    os.utime(mon, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "earlier" not in predict(student, mon).out
    assert areas()[0]["sha256"] == file_sha256(mon)


def test_a_moved_photo_takes_its_results_along(days, student: Path) -> None:
    mon, tue = days
    predict(student, mon)
    predict(student, tue)
    masks = {name for name in written() if name.startswith("masks")}
    shutil.move(mon, "monday")
    assert "(1 of them earlier)" in predict(student, "monday").out
    assert {name for name in written() if name.startswith("masks")} == masks
    assert len(areas()) == 2 and right(student)


def test_a_copy_of_a_photo_has_a_row_of_its_own(days, student: Path) -> None:
    mon, tue = (day / "IMG_1.png" for day in days)
    shutil.copyfile(mon, tue)
    predict(student, mon)
    predict(student, tue)
    assert {row["photo"] for row in areas()} == {str(mon), str(tue)} and right(student)


def test_the_row_of_a_removed_photo_stays(days, student: Path) -> None:
    predict(student, *days)
    before = areas()
    (days[0] / "IMG_1.png").unlink()
    assert predict(student, days[1]).code == 0 and areas() == before


def test_a_photo_that_became_a_link_to_another_keeps_both_rows(days, student: Path) -> None:
    predict(student, *days)
    before = areas()
    mon, tue = (day / "IMG_1.png" for day in days)
    mon.unlink()
    mon.symlink_to(tue)
    assert predict(student, days[1]).code == 0 and areas() == before


# ---------------------------------------------------------------- nothing is lost


def test_own_files_of_a_person_survive(days, student: Path, rectified: Path) -> None:
    mon, _ = days
    predict(student, mon)
    mine = {
        name: f"{k}".encode()
        for k, name in enumerate((
            "contact-sheet-mine.jpg", "contact-sheet-7.jpg", "contact-sheet-01.jpg", "notes.txt",
            "masks/IMG_1 improved.png", "overlays/notes.txt", "records/notes.txt",
        ))
    }  # fmt: skip
    for name, content in mine.items():
        Path("predictions", name).write_bytes(content)
    for options in ([], ["--overwrite"]):
        for model in (student, rectified) if options else (student,):
            assert predict(model, *days, *options).code == 0
            now = written()
            assert {name: now[name] for name in mine} == mine


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_an_improved_mask_is_kept_aside(days, student: Path, options: list[str]) -> None:
    predict(student, days[0])
    before = written()
    mask = Path("predictions/masks/IMG_1.png")
    improved = Image.open(mask)
    improved.putpixel((0, 0), (improved.getpixel((0, 0)) + 1) % 20)
    improved.save(mask)
    content = mask.read_bytes()
    said = predict(student, days[0], *options)
    place = f"predictions/replaced/masks/IMG_1-{file_sha256_of(content)[:8]}.png"
    assert said.code == 0 and place in said.err and Path(place).read_bytes() == content
    assert {name: now for name, now in written().items() if "replaced" not in name} == before


def file_sha256_of(content: bytes) -> str:
    return sha256(content).hexdigest()


def test_a_contact_sheet_of_a_person_in_the_place_of_ours_is_kept_aside(days, student) -> None:
    predict(student, days[0])
    sheet = Path("predictions/contact-sheet-1.jpg")
    Image.new("RGB", (9, 9), "red").save(sheet)
    content = sheet.read_bytes()
    predict(student, days[0])
    assert sheet.read_bytes() != content
    assert [p.read_bytes() for p in Path("predictions/replaced").rglob("*.jpg")] == [content]


def test_a_page_of_a_person_in_the_gallery_s_place_is_kept(days, student: Path) -> None:
    predict(student, days[0])
    Path("predictions/gallery.html").write_text("<p>mine")
    said = predict(student, days[1])
    (kept,) = Path("predictions/replaced").iterdir()
    assert kept.read_text() == "<p>mine" and kept.name in said.err
    assert is_gallery(Path("predictions/gallery.html"))


def test_another_model_that_fails_leaves_no_gallery_of_the_first(
    days, student: Path, rectified: Path
) -> None:
    predict(student, days[0])
    Path("bad.jpg").write_text("no photo")
    assert predict(rectified, "bad.jpg", "--overwrite").code == 1
    assert written().keys() == {"areas.csv", "model.json"}


def test_another_model_leaves_nothing_of_the_first(days, student, rectified) -> None:
    predict(student, *days)
    assert predict(rectified, days[1], "--overwrite").code == 0
    assert [row["photo"] for row in areas()] == [str(days[1] / "IMG_1.png")]
    assert right(rectified) and len(written()) == 7  # one photo's three files, and four of all


def test_a_model_s_folder_is_no_output_folder(days, student: Path, tmp_path: Path) -> None:
    model = shutil.copytree(student, tmp_path / "other")
    write_json(model / "model.json", json.loads((model / "model.json").read_text()) | {"seed": 9})
    before = written(str(model))
    for options in ([], ["--overwrite"]):
        line = one_sentence(predict(student, days[0], "--out", model, *options))
        assert "is a model's folder: name another folder" in line and written(str(model)) == before


def test_two_commands_do_not_write_into_one_folder_at_once(days, student: Path) -> None:
    predict(student, days[0])
    before = written()
    with FileLock(Path("predictions", LOCK)):
        line = one_sentence(predict(student, days[1]))
    assert "another `reclip predict` writes into 'predictions': wait until it ends" in line
    assert written() == before and predict(student, days[1]).code == 0


@pytest.mark.parametrize(("number", "code"), [(errno.ENOLCK, 0), (errno.EIO, 1)])
def test_a_folder_without_locks_is_said_and_a_broken_one_refused(
    days, student: Path, monkeypatch, caplog, number: int, code: int
) -> None:
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(FileLock, "acquire", fail)
    said = predict(student, days[0])
    assert said.code == code
    where = caplog.text if code == 0 else said.err
    assert ("without locks" if code == 0 else "Cannot lock 'predictions'") in where


class Killed(BaseException):
    """As if the process had ended between two writes."""


def killed_after(writes: int, command: Callable[[], object], monkeypatch) -> bool:
    """Run a command, and end it at the next write or removal of a file; return whether it was."""

    def counted(write):
        def call(*arguments, **options):
            nonlocal writes
            writes -= 1
            if writes < 0:
                raise Killed
            return write(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for owner, name in (
            (own_files, "atomic"), (output, "write_record"), (output, "write_text"),
            (output, "write_areas"), (Path, "unlink"),
        ):  # fmt: skip
            patch.setattr(owner, name, counted(getattr(owner, name)))
        try:
            command()
        except Killed:
            return True
    return False


def test_a_kill_at_any_write_loses_nothing(days, student, rectified, monkeypatch) -> None:
    """New photos, a replaced one, another model: what is done stays, and the next call goes on."""
    out, (mon, tue) = Path("predictions"), (day / "IMG_1.png" for day in days)
    first, other = (Segmenter.load(model, device="cpu") for model in (student, rectified))
    steps = {
        "a photo": partial(run_predict, first, [str(days[0])], out),
        "another": partial(run_predict, first, [str(days[1])], out),
        "a replaced photo": partial(run_predict, first, list(map(str, days)), out),
        "another model": partial(run_predict, other, [str(days[1])], out, overwrite=True),
    }
    out.mkdir()
    for name, command in steps.items():
        if name == "a replaced photo":
            shutil.copyfile(tue, mon)
        before = {record.photo for record in read_records(out)}
        shutil.copytree(out, "start")
        for writes in itertools.count():
            if not killed_after(writes, command, monkeypatch):
                break
            if name != "another model":
                assert before <= {record.photo for record in read_records(out)}
            assert not command().failed
            resumed = written()
            shutil.rmtree(out)
            shutil.copytree("start", out)
        assert writes > 4 and written() == resumed and "replaced" not in str(resumed.keys())
        assert right(rectified if name == "another model" else student)
        shutil.rmtree("start")


# ---------------------------------------------------------------- records


@pytest.mark.parametrize("damage", ["", "{}", "copied"])
def test_a_damaged_record_is_made_again_or_named(days, student: Path, damage: str) -> None:
    predict(student, days[0])
    predict(student, days[1])
    before = written()
    name = f"IMG_1-{digits(days[0] / 'IMG_1.png')}"
    record = Path(f"predictions/records/{name}.json")
    others = [p for p in record.parent.iterdir() if p != record]
    record.write_bytes(others[0].read_bytes()) if damage == "copied" else record.write_text(damage)
    with pytest.raises(ReclipError, match=rf"records/{name}.json': it is damaged. Delete it"):
        read_records(Path("predictions"))
    said = predict(student, days[1])
    assert said.code == 1 and f"records/{name}.json' is damaged, so its" in said.err
    assert [row["photo"] for row in areas()] == [str(days[1] / "IMG_1.png")]
    assert predict(student, days[0]).code == 0 and written() == before


def test_a_record_cannot_lead_out_of_its_folder(days, student: Path) -> None:
    predict(student, days[0])
    record = Path("predictions/records/IMG_1.json")
    for path in ("../photos/mon/IMG_1.png", "/etc/passwd", ""):
        write_json(record, json.loads(record.read_text()) | {"mask": path})
        assert find_records(Path("predictions")) == ([], [record])


# ---------------------------------------------------------------- names


def test_a_path_that_is_not_utf_8_is_left_out_with_a_sentence(days, student: Path) -> None:
    mon, tue = days
    odd = os.fsencode(mon) + b"/ol\xe9.png"
    shutil.copyfile(mon / "IMG_1.png", odd)
    said = predict(student, mon, tue)
    assert said.code == 1 and said.out.startswith("2 photos segmented")
    assert "mon/ol\\xe9.png' has a path that is not UTF-8" in said.err.splitlines()[0]
    assert len(areas()) == 2 and right(student)
    assert one_sentence_of(predict(student, os.fsdecode(odd))) == "error: 1 of 1 photo failed"
    link = tue / "link.png"
    os.symlink(odd, link)
    assert predict(student, link).code == 0 and right(student) and len(areas()) == 3


def one_sentence_of(said) -> str:
    return said.err.splitlines()[-1].split(",")[0]


ODD = [
    "line\nbreak", "100%d %s", "-x", "blank ", "dots..", "quote\"'<b>&", "a" * 251, "é" * 125,
    "back\\slash", "tab\t", "#", "~", "$HOME", "…", "😀",
]  # fmt: skip


def test_odd_names_get_their_results(here: Path, student: Path) -> None:
    Path("odd").mkdir()
    for name in ODD:
        Image.new("RGB", (4, 4)).save(Path("odd", "x.png"))
        os.rename("odd/x.png", f"odd/{name}.png")
    Path("odd/x.png").mkdir()  # would take the place of the mask of x.jpg
    Image.new("RGB", (4, 4)).save("odd/x.png/y.jpg")
    Image.new("RGB", (4, 4)).save("odd/x.jpg")
    Image.new("RGB", (4, 4)).save("odd/.hidden.jpg")
    Path("odd/broken\n.jpg").write_text("")
    said = predict(student, "odd", "odd/.hidden.jpg")
    assert said.code == 1 and "odd/broken\\n.jpg' cannot be read" in said.err.splitlines()[0]
    assert len(said.err.splitlines()) == 2 and len(said.out.splitlines()) == 2
    photos = {os.path.abspath(f"odd/{name}.png") for name in ODD}
    photos |= {os.path.abspath(f"odd/{name}.jpg") for name in ("x.png/y", "x", ".hidden")}
    assert {row["photo"] for row in areas()} == photos
    assert len(read_records(Path("predictions"))) == len(photos) and right(student)
    before = written()
    assert f"({len(photos)} of them earlier)" in predict(student, "odd", "odd/.hidden.jpg").out
    assert written() == before


def test_the_output_folder_may_have_a_name_that_is_not_utf_8(days, student: Path) -> None:
    said = predict(student, days[0], "--out", os.fsdecode(b"ol\xe9"))
    assert said.code == 0 and "see 'ol\\xe9'" in said.out


def test_names_that_a_file_system_takes_for_one_get_two_results(here, student: Path) -> None:
    for folder, name in (("one", "X"), ("two", "x"), ("three", "e\u0301"), ("four", "\u00e9")):
        Path(folder).mkdir()
        Image.effect_noise((64, 48), 90).convert("RGB").save(f"{folder}/{name}.png")
        assert predict(student, folder).code == 0
    names = [record.name for record in read_records(Path("predictions"))]
    assert len({name.casefold() for name in names}) == 4 and all("-" in name for name in names)
    assert right(student)


def test_a_class_named_photo_has_its_own_column(days, student: Path) -> None:
    info = read_folder(student)
    named = ("photo", "mask", "entropy", "share: photo")
    classes = (*((name,) for name in named), *info.classes[len(named) :])
    backend = load_model(info, student / "model.safetensors", "cpu", None)
    backend.info = info.model_copy(update={"classes": classes})
    (photo,) = find_photos([str(days[0])], Path("predictions"))
    with output.output(Path("predictions"), backend.info, overwrite=False) as results:
        results.write(photo, "0" * 64, Segmenter(backend)(photo.path))
    (row,) = areas()
    assert row["photo"] == str(photo.path) and row["mask"] == "masks/IMG_1.png"
    assert len(row) == 7 + 2 * len(classes)
    assert sum(float(row[f"share: {name[0]}"]) for name in classes) == pytest.approx(1, abs=1e-4)


def test_the_least_certain_photos_are_named(days, student: Path) -> None:
    said = predict(student, *days)
    rows = sorted(areas(), key=lambda row: -float(row["entropy"]))
    line = said.out.splitlines()[-1]
    assert line.startswith("check first, by their entropy: ")
    assert [Path(row["photo"]).parent.name for row in rows] == [
        part.split("/")[0]
        for part in line.removeprefix("check first, by their entropy: ").split(", ")
    ]


def test_a_model_that_gives_no_numbers_is_named(days, student: Path, monkeypatch) -> None:
    model = Segmenter.load(student, device="cpu")
    real = model._backend.logits

    def broken(photo, image):
        pieces, frame = real(photo, image)
        return [Piece(p.window, np.full(p.logits.shape, np.inf)) for p in pieces], frame

    monkeypatch.setattr(model._backend, "logits", broken)
    with pytest.raises(ReclipError, match="not finite. Train, package or export"):
        model(days[0] / "IMG_1.png")
