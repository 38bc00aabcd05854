"""`reclip predict`: its output, resuming, and its errors about files that are not photos."""

from __future__ import annotations

import os
import resource
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reclip.common.files import file_sha256
from reclip.data.images import read_label
from reclip.inference.inputs import find_photos, names
from reclip.inference.segmenter import Segmenter
from support.at_the_shell import one_sentence, reclip
from support.predicting import areas, predict, written
from support.unprivileged import unprivileged

A, B = "masks/a.png", "masks/inner/a.png"


def test_output_files(here: Path, student: Path, photos: Path) -> None:
    said = predict(student, photos)
    assert said.code == 0 and said.out.startswith("2 photos segmented: see 'predictions'\n")
    assert written().keys() == {
        A, B, "overlays/a.jpg", "overlays/inner/a.jpg", "records/a.json", "records/inner/a.json",
        "areas.csv", "contact-sheet-1.jpg", "gallery.html", "model.json",
    }  # fmt: skip
    model = Segmenter.load(student, device="cpu")
    for row, photo, mask in zip(areas(), ("a.png", "inner/a.png"), (A, B), strict=True):
        found = model(photos / photo)
        assert (read_label(Path("predictions") / mask) == found.mask).all()
        image = Image.open(Path("predictions") / mask)
        assert image.mode == "P" and image.getpalette()[:3] == list(model.info.palette[0])
        assert row["photo"] == str(photos / photo)
        assert (int(row["height"]), int(row["width"])) == found.mask.shape
        assert (row["mask"], row["sha256"]) == (mask, file_sha256(photos / photo))
        shares = [float(row[f"share: {name}"]) for name in model.class_names]
        assert np.allclose(shares, list(found.area().values()), atol=1e-6)
        means = found.uncertainty()
        likely = [float(row[f"probability: {name}"]) for name in model.class_names]
        assert np.allclose(likely, means.probabilities, atol=1e-6)
        assert float(row["entropy"]) == pytest.approx(means.entropy, abs=1e-6)
        assert float(row["confidence"]) == pytest.approx(means.confidence, abs=1e-6)
    sheet = Image.open("predictions/contact-sheet-1.jpg")
    assert sheet.width > 480 and sheet.height > 240


def test_a_second_call_does_nothing_and_a_changed_photo_is_segmented_again(
    here: Path, student: Path, photos: Path
) -> None:
    predict(student, photos)
    before = written()
    said = predict(student, photos)
    assert said.out.startswith("2 photos segmented (2 of them earlier): see 'predictions'\n")
    assert written() == before
    shutil.copyfile(photos / "inner/a.png", photos / "a.png")
    assert "(1 of them earlier)" in predict(student, photos).out
    after = written()
    assert after[A] == before[B] != before[A] and after[B] == before[B]


def test_an_interrupted_call_is_resumed(here, student, photos, monkeypatch) -> None:
    real = Segmenter.__call__

    def stopped(self, image):
        if calls:
            raise KeyboardInterrupt
        calls.append(image)
        return real(self, image)

    calls: list = []
    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "__call__", stopped)
        assert predict(student, photos).code == 130
    assert A in written() and B not in written() and "areas.csv" in written()
    assert "(1 of them earlier)" in predict(student, photos).out
    assert B in written() and not list(here.rglob("*.partial*"))


def test_a_truncated_overlay_is_written_again(here, student, photos) -> None:
    predict(student, photos)
    before = written()
    Path("predictions/overlays/a.jpg").write_bytes(before["overlays/a.jpg"][:-100])
    assert "(1 of them earlier)" in predict(student, photos).out
    assert written() == before


@pytest.mark.parametrize("damage", ["masks/a.png", "overlays/a.jpg"])
def test_missing_or_damaged_results_are_written_again(here, student, photos, damage: str) -> None:
    predict(student, photos)
    before = written()
    path = Path("predictions") / damage
    path.write_bytes(b"") if damage == A else path.unlink()
    assert "(1 of them earlier)" in predict(student, photos).out
    assert written() == before


def test_results_of_another_model_are_refused(
    here: Path, student: Path, rectified: Path, photos: Path
) -> None:
    predict(student, photos)
    before = written()
    line = one_sentence(predict(rectified, photos))
    assert "'predictions' holds the results of another model" in line and "--overwrite" in line
    assert written() == before
    assert predict(rectified, photos, "--overwrite").code == 0
    assert written()["model.json"] != before["model.json"] and written()[A] != before[A]


def test_a_bad_file_does_not_stop_the_rest(here: Path, student: Path, photos: Path) -> None:
    (photos / "bad.jpg").write_text("no photo")
    whole = (photos / "a.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    said = predict(student, photos)
    assert said.code == 1 and said.out.startswith("2 photos segmented: see 'predictions'\n")
    *failed, last = said.err.splitlines()
    assert [line.startswith("failed: ") for line in failed] == [True, True]
    assert "bad.jpg" in failed[0] and "cut.png" in failed[1]
    assert last.startswith("error: 2 of 4 photos failed, as named above")
    assert {A, B} < written().keys() and len(written()) == 10
    (photos / "bad.jpg").unlink()
    (photos / "cut.png").write_bytes(whole)
    said = predict(student, photos)
    assert said.code == 0 and said.out.startswith("3 photos segmented (2 of them earlier)")


def test_pipes_and_broken_links_are_named(here: Path, student: Path) -> None:
    make("odd/one.png")
    os.mkfifo("odd/pipe.jpg")
    Path("odd/self.jpg").symlink_to("self.jpg")
    Path("odd/gone.jpg").symlink_to("nowhere.jpg")
    said = predict(student, "odd")
    assert said.code == 1 and said.out == "1 photo segmented: see 'predictions'\n"
    *failed, last = said.err.splitlines()
    assert [name in line for name, line in zip(("gone", "pipe", "self"), failed, strict=True)]
    assert "'odd/pipe.jpg' cannot be read as an image (it is no file)" in failed[1]
    assert last.startswith("error: 3 of 4 photos failed, as named above: fix or remove")


def test_its_own_masks_are_not_segmented(here: Path, student: Path, photos: Path) -> None:
    for _ in range(2):
        assert predict(student, photos, "--out", photos / "found").out.startswith("2 photos")


def test_many_photos_fill_several_sheets(here: Path, student: Path) -> None:
    Path("many").mkdir()
    for k in range(40):
        Image.new("RGB", (9, 5), (k, 2 * k, 0)).save(
            f"many/a-photo-with-a-rather-long-name-{k}.png"
        )
    assert predict(student, "many").code == 0
    sheets = sorted(name for name in written() if name.startswith("contact"))
    assert sheets == ["contact-sheet-1.jpg", "contact-sheet-2.jpg"]
    for path in list(Path("predictions/records").iterdir())[5:]:
        path.unlink()
    assert predict(student, "many/a-photo-with-a-rather-long-name-1.png").code == 0
    assert sorted(n for n in written() if n.startswith("contact")) == sheets[:1]


# ---------------------------------------------------------------- which photos


def make(*files: str) -> None:
    for file in files:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(file)


def found(*arguments: str) -> dict[str, str]:
    return {p.path.as_posix(): p.name for p in find_photos(arguments, Path("out"))}


def test_results_are_named_by_the_photo_s_path(here: Path) -> None:
    make("one/x.jpg", "one/deep/x.jpg", "two/x.jpg", "one/.hidden.jpg", "out/masks/x.png")
    Path("one/notes.txt").write_text("")
    assert found("one") == {"one/deep/x.jpg": "deep/x", "one/x.jpg": "x"}
    assert found("one/x.jpg", "two/x.jpg") == {"one/x.jpg": "one/x", "two/x.jpg": "two/x"}
    assert found("one", "two/x.jpg", "./one/x.jpg", "two/../two/x.jpg") == {
        "one/deep/x.jpg": "one/deep/x", "one/x.jpg": "one/x", "two/x.jpg": "two/x",
    }  # fmt: skip
    assert found("one/x.jpg") == {"one/x.jpg": "x"}
    assert found("one", "out") == {"one/deep/x.jpg": "one/deep/x", "one/x.jpg": "one/x"}


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["x.jpg", "y.jpg"], ["x", "y"]),
        (["x.jpg", "x.png", "y.jpg"], ["x.jpg", "x.png", "y"]),
        (["x.jpg", "X.png"], ["x.jpg", "X.png"]),
        (["x.jpg", "x.jpg.png", "x.png"], ["x.jpg", "x.jpg.png", "x.png"]),
        (["x.tar.jpg", "a.b/x.jpg"], ["x.tar", "a.b/x"]),
    ],
)
def test_no_two_photos_share_a_name(files: list[str], wanted: list[str]) -> None:
    assert names([Path(file) for file in files], os.getcwd()) == wanted


# ---------------------------------------------------------------- mistakes

MISTAKES = {
    "no such file": (["nowhere"], "no file or folder 'nowhere'"),
    "an empty folder": (["empty"], "no photo in 'empty': name a folder with JPEG,"),
    "no photos": (["texts"], "no photo in 'texts'"),
    "out is a file": (
        ["photo.png", "--out", "texts/a.txt"],
        "'texts/a.txt' as a folder: File exists",
    ),
    "out is in a file": (
        ["photo.png", "--out", "texts/a.txt/b"],
        "'texts/a.txt/b' as a folder: Not a",
    ),
    "out is something else": (
        ["photo.png", "--out", "texts"],
        "'texts' holds other files, such as",
    ),
    "no such device": (
        ["photo.png", "--device", "tpu"],
        "device: this machine has no device 'tpu': use",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(here: Path, student: Path, mistake: str) -> None:
    make("photo.png")
    Path("empty").mkdir()
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("text")
    arguments, words = MISTAKES[mistake]
    said = reclip("predict", "--model", str(student), *arguments)
    assert words in one_sentence(said)
    assert not list(Path(".").rglob("masks")) and Path("texts/a.txt").read_text() == "text"


def test_a_read_only_folder_is_named(here: Path, student: Path) -> None:
    make("photo.png")
    Path("locked").mkdir()
    Path("locked").chmod(stat.S_IRUSR | stat.S_IXUSR)
    said = unprivileged(lambda: predict(student, "photo.png", "--out", "locked"))
    assert "Cannot write into 'locked'" in one_sentence(said)


def test_a_full_disk_stops_at_once(here: Path, student: Path, photos: Path, monkeypatch) -> None:
    """A full disk is not an error of one photo."""

    def full(self, content):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    line = one_sentence(predict(student, photos))
    assert ": the disk is full. Free" in line and not list(here.rglob("*.partial*"))


def test_a_full_disk_leaves_no_truncated_picture(here: Path, student: Path) -> None:
    """Pillow itself does not notice that the system wrote only part of a JPEG."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    Image.fromarray(noise).save("photo.png")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, before[1]))
    try:
        line = one_sentence(predict(student, "photo.png"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "overlays/photo.jpg': File too large. Fix this" in line
    assert not list(here.rglob("*.jpg")) and not list(here.rglob("masks/*"))


@pytest.mark.parametrize("options", [[], ["--run", "distill", "--model", "x"]])
def test_the_model_is_named_exactly_once(here: Path, options: list[str]) -> None:
    make("photo.png")
    said = reclip("predict", "photo.png", *options)
    assert said.code == 2 and "with either --run or --model" in said.err
