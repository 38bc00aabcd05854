"""`reclip.Segmenter`: the masks of the evaluation, for any kind of photo, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reclip
from reclip.clip.feature_cache import FeatureCache
from reclip.common.errors import ReclipError
from reclip.config.models import ImageSettings, RefinementSettings
from reclip.data.index import DataSet
from reclip.data.reading import Frame, Piece, windows
from reclip.distill.deeplab import Student
from reclip.distill.predict import predict_by_student
from reclip.inference import segmenter
from reclip.inference.model_info import read_folder
from reclip.inference.segmenter import Segmenter, as_pixels, bounded, without_margins
from reclip.inference.torch_backend import load_model
from reclip.rectify.model import Rectifier
from reclip.rectify.predict import predict_from_features
from reclip.rectify.upsample import upsample
from support.needs import needs_own_peak
from support.odd_photos import COLOURS, PHOTOS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(student: Path) -> Segmenter:
    return reclip.Segmenter.load(student, device="cpu")


def with_image(folder: Path, **changes) -> Segmenter:
    """Return the model with other image settings."""
    info = read_folder(folder)
    info = info.model_copy(update={"image": ImageSettings(**changes)})
    return Segmenter(load_model(info, folder / "model.safetensors", "cpu", None))


@pytest.fixture
def evaluated(trained: Path, monkeypatch):
    """Val photos, and the masks that the evaluation's two predictors give to each."""
    monkeypatch.chdir(trained)
    results = Path("results/tiny")
    features = FeatureCache(results / "features/voc")
    items = DataSet(results / "data/voc").items("val")
    student = Student.load(results / "runs/distill/distill/seed-0/weights.safetensors")
    rectifier = Rectifier.load(results / "runs/ref-pe/rectify/seed-0/weights.safetensors")
    plain = RefinementSettings()
    with torch.inference_mode():
        return [
            (
                item,
                predict_by_student(student, features, item, CPU).numpy(),
                predict_from_features(rectifier, features, "val", i, item, plain).numpy(),
            )
            for i, item in enumerate(items)
        ]


def test_masks_equal_the_evaluation_s(evaluated, student: Path, rectified: Path) -> None:
    """Also for the rectified CLIP, whose features the evaluation reads from a float16 cache."""
    models = [Segmenter.load(folder, device="cpu") for folder in (student, rectified)]
    assert len(evaluated) == 4
    for item, *wanted in evaluated:
        for model, mask in zip(models, wanted, strict=True):
            found = model(item.image)
            assert found.mask.dtype == np.uint8
            assert (found.mask == mask).all() and len(np.unique(mask)) > 1


@pytest.mark.parametrize(
    "changes",
    [
        {"short_side": 40},
        {"protocol": "slide", "window": 48, "stride": 32},
        {"short_side": 90, "protocol": "slide", "window": 48, "stride": 32},
        {"short_side": 50, "overhang": "squeezed"},
    ],
)
def test_image_settings_work_as_in_the_evaluation(
    trained: Path, student: Path, changes, monkeypatch
) -> None:
    monkeypatch.chdir(trained)
    item = DataSet(Path("results/tiny/data/voc")).items("val")[0]
    features = FeatureCache(Path("results/tiny/features/voc"))
    features.image_settings = ImageSettings(**changes)
    weights = student.parent / "distill/seed-0/weights.safetensors"
    with torch.inference_mode():
        wanted = predict_by_student(Student.load(weights), features, item, CPU).numpy()
    assert (with_image(student, **changes)(item.image).mask == wanted).all()


# ---------------------------------------------------------------- kinds of photos


@pytest.mark.parametrize("kind", PHOTOS)
def test_unusual_files_give_their_pixels(tmp_path: Path, model: Segmenter, kind: str) -> None:
    """CMYK, 16 bits, grey, transparent, rotated by EXIF, a single pixel, a strip."""
    write, pixels = PHOTOS[kind]
    path = tmp_path / "photo"
    write(path)
    wanted = model(pixels)
    for image in (path, str(path), Image.open(path)):
        found = model(image)
        assert (found.image == pixels).all() and (found.mask == wanted.mask).all()


def test_the_caller_s_image_is_not_changed(tmp_path: Path, model: Segmenter) -> None:
    PHOTOS["rotated"][0](tmp_path / "photo")
    image = Image.open(tmp_path / "photo")
    size = image.size
    assert model(image).mask.shape == size != COLOURS.shape[1::-1]
    assert image.size == size and image.getexif()[0x0112] == 6


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4), np.uint8), "Cannot segment this array of uint8 (4, 4). Give a path"),
        (np.zeros((4, 4, 4), np.uint8), "this array of uint8 (4, 4, 4)."),
        (np.zeros((4, 4, 3)), "this array of float64"),
        (np.zeros((0, 4, 3), np.uint8), "this array of uint8 (0, 4, 3)."),
        (b"bytes", "Cannot segment this bytes. Give a path"),
        ("nowhere.jpg", "no file 'nowhere.jpg'"),
        (__file__, "cannot be read as an image"),
    ],
)
def test_other_input_is_refused(model: Segmenter, image, words: str) -> None:
    with pytest.raises(ReclipError) as caught:
        model(image)
    assert words in str(caught.value)


def test_a_truncated_photo_is_refused_even_if_it_was_opened_before(tmp_path: Path, model) -> None:
    Image.fromarray(np.zeros((99, 99, 3), np.uint8)).save(tmp_path / "whole.bmp")
    (tmp_path / "cut.bmp").write_bytes((tmp_path / "whole.bmp").read_bytes()[:9000])
    for image in (tmp_path / "cut.bmp", Image.open(tmp_path / "cut.bmp")):
        with pytest.raises(ReclipError, match=r"cut.bmp' cannot be read as an image"):
            model(image)


# ---------------------------------------------------------------- segmentations


def test_probabilities_areas_and_mask_agree(model: Segmenter, noise: np.ndarray) -> None:
    found = model(noise)
    probabilities = found.probabilities()
    assert probabilities.shape == (20, 61, 90) and probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(0), 1, atol=1e-5)
    assert (probabilities.argmax(0) == found.mask).mean() > 0.999
    area = found.area()
    assert list(area) == list(model.class_names) and sum(area.values()) == pytest.approx(1)
    best = max(area, key=area.get)
    assert area[best] == (found.mask == model.class_names.index(best)).mean()
    assert f"61×90 pixels: {best} " in repr(found)


def test_probabilities_are_a_softmax_on_the_scale_of_training(model, noise: np.ndarray) -> None:
    found = model(noise)
    logits = np.log(found.probabilities()) / model.info.logit_scale
    assert model.info.logit_scale == 30 and 0.05 < np.ptp(logits) < 2  # cosines


def test_a_palette_image_holds_the_class_numbers(model: Segmenter, noise: np.ndarray) -> None:
    found = model(noise)
    image = found.palette_image()
    assert image.mode == "P" and (np.asarray(image) == found.mask).all()
    assert (np.asarray(image.convert("RGB")) == found.palette[found.mask]).all()


def test_an_overlay_is_photo_and_colours_above_a_legend(model, noise: np.ndarray) -> None:
    found = model(noise)
    height, width = found.mask.shape

    def shown(opacity: float) -> np.ndarray:
        return np.asarray(found.overlay(opacity))[:height, :width]

    assert (shown(0) == noise).all()
    assert (shown(1) == found.palette[found.mask]).all()
    assert np.abs(shown(0.5) - (noise / 2 + found.palette[found.mask] / 2)).max() <= 1
    legend = np.asarray(found.overlay())[height:].reshape(-1, 3).tolist()
    held = np.unique(found.mask)
    for k, colour in enumerate(found.palette.tolist()):
        assert (colour in legend) == (k in held)
    assert found._repr_png_().startswith(b"\x89PNG")


def test_a_large_photo_s_overlay_is_reduced(model: Segmenter) -> None:
    found = model(np.zeros((300, 600, 3), np.uint8))
    assert found.overlay(long_side=None).width == 600
    assert found.overlay(long_side=400).width == 400 and found.overlay().width == 600


# ---------------------------------------------------------------- large photos


def test_only_large_photos_are_read_in_tiles() -> None:
    whole = ImageSettings()
    side = 8 * int(segmenter.WHOLE_CELLS**0.5)
    assert bounded(whole, (side, side), 8) == whole
    assert bounded(whole, (side + 9, side), 16) == whole
    found = bounded(whole, (side + 9, side), 8)
    assert (found.protocol, found.window, found.stride) == ("slide", 1024, 768)
    small = ImageSettings(short_side=448)
    assert bounded(small, (4000, 6000), 8) == small
    slide = ImageSettings(protocol="slide")
    assert bounded(slide, (4000, 6000), 8) == slide


def test_tiles_without_margins_cover_the_photo(monkeypatch) -> None:
    """The logits are coordinates: every pixel must get its own."""
    monkeypatch.setattr(segmenter, "WHOLE_CELLS", 100)
    read = (1900, 1301)
    image = bounded(ImageSettings(), read, 8)
    pieces = []
    for window in windows(read, image):
        rows, columns = (-(-side // 8) for side in window[2:])
        places = np.mgrid[:rows, :columns] * 8.0 + np.array(window[:2]).reshape(2, 1, 1)
        pieces.append(Piece(window, places.astype(np.float32) + 3.5))
    found = without_margins(pieces, Frame(8, read, read))
    assert len(found) == 6 and found[0][0] == (0, 0, 1024 - 14 * 8, 1024 - 14 * 8)
    assert found[-1][0] == (1900 - 1024 + 112, 1301 - 1024 + 112, 1024 - 112, 1024 - 112)
    covered = np.zeros(read, int)
    for (top, left, height, width), logits in found:
        covered[top : top + height, left : left + width] += 1
        assert logits.shape == (2, -(-height // 8), -(-width // 8))
    assert covered.min() == 1
    full = upsample([Piece(w, torch.from_numpy(v)) for w, v in found], Frame(8, read, read))
    wanted = np.mgrid[: read[0], : read[1]]
    assert np.abs(full.numpy() - wanted).max() <= 4  # half a cell, where a tile ends


def test_tiles_in_torch_and_onnx_agree(
    student: Path, exported: Path, noise: np.ndarray, monkeypatch
) -> None:
    photo = np.tile(noise, (8, 7, 1))
    whole = Segmenter.load(student, device="cpu")(photo).mask
    for name, value in (("WHOLE_CELLS", 100), ("TILE_CELLS", 48), ("STEP_CELLS", 16)):
        monkeypatch.setattr(segmenter, name, value)
    by_torch = Segmenter.load(student, device="cpu")(photo).mask
    by_onnx = Segmenter.load(exported)(photo).mask
    assert by_torch.shape == whole.shape == photo.shape[:2]
    assert (by_torch == by_onnx).mean() > 0.999
    assert 0.7 < (by_torch == whole).mean() < 1  # the pyramid looks far


MEASURED = """
import sys
import numpy as np
from pathlib import Path
from reclip.inference.segmenter import Segmenter
model = Segmenter.load(sys.argv[1], device="cpu")
found = model(sys.argv[2])
assert found.mask.shape == (4000, 6000) and sum(found.area().values()) > 0.99
found.overlay()
assert found.entropy().shape == found.mask.shape and 0 < found.uncertainty().entropy < 1
(peak,) = [l for l in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l]
print(int(peak.split()[1]) / 2**20)
"""


@pytest.mark.slow
@needs_own_peak
@pytest.mark.parametrize("kind", ["folder", "onnx"])
def test_a_photo_of_24_megapixels_takes_bounded_memory(
    tmp_path: Path, student: Path, exported: Path, kind: str
) -> None:
    """Its 20 logits a pixel alone would take 1.8 GiB, and resizing them another 1.8 GiB."""
    gradients = [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.new("L", (256, 256))]
    Image.merge("RGB", gradients).resize((6000, 4000)).save(tmp_path / "large.jpg", quality=50)
    path = student if kind == "folder" else exported
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path), str(tmp_path / "large.jpg")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < (2.6 if kind == "folder" else 1.3)


# ---------------------------------------------------------------- the package


def test_importing_reclip_is_fast() -> None:
    code = (
        "import sys, reclip\n"
        "heavy = ('torch', 'numpy', 'PIL', 'pydantic', 'onnxruntime')\n"
        "assert not [m for m in heavy if m in sys.modules]\n"
        "assert reclip.Segmenter.__name__ == 'Segmenter' and 'torch' not in sys.modules\n"
        "assert reclip.Segmentation.__name__ == 'Segmentation'\n"
        "from reclip import Segmenter\n"
        "try: reclip.Segmentr\n"
        "except AttributeError as error: assert 'Segmentr' in str(error)\n"
        "else: raise SystemExit('no error')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_array_may_be_a_view(model: Segmenter, noise: np.ndarray) -> None:
    flipped = noise[:, ::-1]
    assert (as_pixels(flipped) == flipped).all()
    assert (model(flipped).mask == model(np.ascontiguousarray(flipped)).mask).all()
    assert "Segmenter distill (student): red stripes" in repr(model)
