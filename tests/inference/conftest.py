"""A trained tiny experiment, its packaged models and an exported student; made once a session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reclip.inference.onnx_export import export_onnx
from support.finished import OF_DATASET, finish

CHANGES = {
    "distill": {"logit_scale": 30},
    "probe": None,
    "runs": {"probe": None},
}
STAGES = (
    *OF_DATASET,
    *[("rectify", "--run", "ref-pe", "--seed", seed) for seed in "01"],
    ("pseudo-mask", "--run", "ref-pe", "--seed", "0"),
    ("distill", "--run", "distill", "--seed", "0"),
    *[("evaluate", "--run", "ref-pe", "--seed", seed) for seed in "01"],
    ("evaluate", "--run", "distill", "--seed", "0"),
    *[(stage, "--run", run) for run in ("ref-pe", "distill") for stage in ("gather", "package")],
)  # fmt: skip


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with the finished tiny experiment; read-only for tests."""
    folder = tmp_path_factory.mktemp("trained")
    finish(folder, CHANGES, STAGES)
    return folder


@pytest.fixture(scope="session")
def student(trained: Path) -> Path:
    """The packaged student."""
    return trained / "results/tiny/runs/distill/model"


@pytest.fixture(scope="session")
def rectified(trained: Path) -> Path:
    """The packaged rectified CLIP."""
    return trained / "results/tiny/runs/ref-pe/model"


@pytest.fixture(scope="session")
def exported(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student as ONNX."""
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    export_onnx(student, path)
    return path


@pytest.fixture
def photos(trained: Path, tmp_path: Path) -> Path:
    """A folder with two photos of the same name, the second in a subfolder."""
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    for place, number in (("a.png", 0), ("inner/a.png", 1)):
        source = trained / f"results/tiny/data/voc/images/val-0000{number}.png"
        (folder / place).write_bytes(source.read_bytes())
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    """An empty folder as the current one: using a model needs no project."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def noise() -> np.ndarray:
    """A photo, uint8 (61, 90, 3)."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((90, 61), Image.Resampling.BICUBIC))
