"""Odd input that is no error goes all the way to metrics: odd photos, odd lists, a huge photo."""

from __future__ import annotations

import codecs
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reclip.data.images import read_image
from reclip.data.index import DataSet
from support.at_the_shell import TO_METRICS, Project, small
from support.needs import needs_own_peak
from support.odd_photos import PHOTOS
from support.paths import TESTS
from support.tiny_ade import make_ade
from support.tiny_voc import TRAIN, VAL, make_voc, write_mask

FOLDER = {"kind": "voc", "folder": "VOCdevkit"}
# ---------------------------------------------------------------- photos


def test_odd_photos_give_the_metrics_of_their_pixels(tmp_path: Path, monkeypatch) -> None:
    """As those of the same pixels in plain files, from the index to the confusion matrix."""
    monkeypatch.chdir(tmp_path)
    ids = list(PHOTOS)
    for place in ("odd", "plain"):
        root = make_voc(Path(place), train=["train"], val=ids)
        for id, (write, pixels) in PHOTOS.items():
            photo = root / f"JPEGImages/{id}.jpg"
            write(photo) if place == "odd" else Image.fromarray(pixels).save(photo, "PNG")
            mask = np.arange(pixels[..., 0].size).reshape(pixels.shape[:2]) % 21
            write_mask(root, id, mask.astype(np.uint8))
    params = small(FOLDER)
    for place in ("odd", "plain"):
        params["datasets"][place] = {"source": {"kind": "voc", "folder": place}}
        params["runs"][place] = {"dataset": place, "method": "query"}
    project = Project(params)
    for place in ("odd", "plain"):
        for stage in TO_METRICS:
            assert project.run(stage, id=place).code == 0, (stage, place)
    items = DataSet(project.results / "data/odd").items("val")
    for item in items:
        expected = PHOTOS[item.id][1]
        assert (item.height, item.width) == expected.shape[:2]
        assert (read_image(item.image) == expected).all(), item.id
    shard = "features/{}/shards-*/val-00000"
    for name in (f"{shard}/tokens.npy", f"{shard}/global.npy", "hypotheses/{}/val.csv",
                 "runs/{}/gather/confusion.npy"):  # fmt: skip
        found = [project.results.glob(name.format(place)) for place in ("odd", "plain")]
        (odd,), (plain,) = ([path.read_bytes() for path in paths] for paths in found)
        assert odd == plain, name
    matrix = np.load(project.results / "runs/odd/gather/confusion.npy")
    assert matrix.sum() == sum(
        np.prod(p.shape[:2]) - -(-np.prod(p.shape[:2]) // 21) for _, p in PHOTOS.values()
    )  # fmt: skip  (without the background)


# ---------------------------------------------------------------- names, lists, settings


def with_bom(path: Path) -> None:
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())


def windows_lines(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"  \r\n") + b"\r\n  \r\n")


LIST = "ImageSets/Segmentation/val.txt"
ODD = {
    "a mark before the list": lambda root: with_bom(root / LIST),
    "UTF-16": lambda root: (root / LIST).write_text((root / LIST).read_text(), "utf-16"),
    "lines of Windows, and blanks": lambda root: windows_lines(root / LIST),
    "no end of the last line": lambda root: (root / LIST).write_text(VAL[0]),
    "upper case": lambda root: (root / f"JPEGImages/{VAL[0]}.jpg").rename(
        root / f"JPEGImages/{VAL[0]}.JPG"
    ),
    "settings of Windows": lambda root: windows_lines(Path("params.yaml")),
    "settings with a mark": lambda root: with_bom(Path("params.yaml")),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_names_lists_and_settings_are_read(tmp_path: Path, monkeypatch, odd: str) -> None:
    monkeypatch.chdir(tmp_path)
    root = make_voc(Path("."))
    project = Project(small(FOLDER))
    ODD[odd](root)
    project.succeed("fetch", "prepare")
    assert [item.id for item in DataSet(project.results / "data/voc").items("val")] == VAL


def test_upper_case_photos_of_ade_are_no_less_photos(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in [*make_ade(Path(".")).glob("images/*/*.jpg")][::2]:
        path.rename(path.with_suffix(".JPG"))
    project = Project(small({"kind": "ade", "folder": "ADEChallengeData2016"}))
    project.succeed("fetch", "prepare")
    data = DataSet(project.results / "data/voc")
    assert (len(data.items("train")), len(data.items("val"))) == (2, 1)


# ---------------------------------------------------------------- a huge photo

MEASURED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.at_the_shell import reclip
for stage in sys.argv[2:]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak is measured anew
    said = reclip(stage, "--run" if stage in ("evaluate", "gather") else "--dataset", "voc")
    assert said.code == 0, said
    (peak,) = [l for l in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l]
    print(stage, peak.split()[1])
"""


def peaks(*stages: str) -> dict[str, float]:
    """The most memory that each stage takes, in GiB, in a process of their own."""
    command = [sys.executable, "-c", MEASURED, str(TESTS), *stages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = (line.split() for line in done.stdout.splitlines())
    return {stage: int(kib) / 2**20 for stage, kib in lines}


@pytest.mark.slow
@needs_own_peak
def test_a_photo_of_40_megapixels_takes_bounded_memory(tmp_path: Path, monkeypatch) -> None:
    """8000×5000 with 20 classes: their logits at once would take 3 GiB."""
    monkeypatch.chdir(tmp_path)
    root = make_voc(Path("."))
    gradients = [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.new("L", (256, 256))]
    photo = Image.merge("RGB", gradients).resize((8000, 5000))
    bands = np.repeat(np.arange(20, dtype=np.uint8), 400)[None].repeat(5000, axis=0)
    for id in (TRAIN[0], VAL[0]):
        photo.save(root / f"JPEGImages/{id}.jpg", quality=50)
        write_mask(root, id, bands)
    params = small(FOLDER, image={"short_side": 64}, compute={"threads": 2})
    params["runs"] = {"voc": params["runs"]["query"]}
    Project(params)
    peak = peaks(*TO_METRICS)
    print({stage: round(gib, 2) for stage, gib in peak.items()})
    assert peak["prepare"] < 0.5
    assert peak["cache-features"] < 2
    assert peak["evaluate"] < 3.5
    (metrics,) = Path("results").rglob("runs/voc/metrics.json")
    assert json.loads(metrics.read_text())["images"] == 1
    assert np.load(metrics.with_name("gather") / "confusion.npy").sum() == 40_000_000 * 19 / 20
