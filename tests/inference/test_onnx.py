"""The exported student: agreement with PyTorch, metadata, and use without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256, write_json
from reclip.data.reading import Frame, Piece, Window
from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
from reclip.inference import onnx_export
from reclip.inference.model_info import read_folder
from reclip.inference.onnx_backend import class_map, probabilities, upsample
from reclip.inference.onnx_export import compare, export_onnx
from reclip.inference.segmenter import Segmenter
from reclip.rectify.class_map import class_map as class_map_by_torch
from reclip.rectify.upsample import upsample as upsample_by_torch
from support.at_the_shell import reclip
from support.readings import READINGS, random_logits


def test_masks_agree_with_the_student(exported: Path, student: Path, trained: Path) -> None:
    by_torch, by_onnx = Segmenter.load(student, device="cpu"), Segmenter.load(exported)
    assert by_onnx.info == by_torch.info
    same = pixels = 0
    for path in sorted((trained / "results/tiny/data/voc/images").glob("*.png")):
        first, second = by_torch(path), by_onnx(path)
        same, pixels = same + (first.mask == second.mask).sum(), pixels + first.mask.size
        difference = np.abs(first.probabilities() - second.probabilities()).max()
        assert difference < 1e-4, path
    assert pixels > 50_000 and same / pixels > 0.999


def test_the_graph_takes_any_size_and_batch(exported: Path) -> None:
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type) == ("image", "tensor(uint8)")
    assert given.shape == ["batch", "height", "width", 3]
    assert (found.name, found.shape[:2]) == ("logits", ["batch", 20])
    rng = np.random.default_rng(0)
    for batch, height, width in ((1, 8, 8), (3, 33, 71), (2, 1, 1), (1, 200, 9)):
        images = rng.integers(0, 256, (batch, height, width, 3), np.uint8)
        (logits,) = session.run(None, {"image": images})
        assert logits.shape == (batch, 20, -(-height // 8), -(-width // 8))
        alone = [session.run(None, {"image": image[None]})[0][0] for image in images]
        assert np.allclose(logits, alone, atol=1e-5)


def test_metadata_describe_the_model_but_not_the_machine(exported: Path) -> None:
    model = onnx.load(exported)
    onnx.checker.check_model(model)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["class_names"])[:2] == ["red stripes", "yellow stripes"]
    assert len(json.loads(facts["palette"])) == 20
    assert "own size" in facts["preprocessing"] and "MIT licence" in facts["licences"]
    assert "uint8 (batch, height, width, 3)" in facts["input"]
    assert "resize bilinearly by 8" in facts["output"]
    content = exported.read_bytes()
    for place in (str(Path(torch.__file__).parents[1]), str(Path(onnx_export.__file__).parents[2])):
        assert place.encode() not in content
    assert b"stack_trace" not in content


def test_the_same_student_gives_the_same_file(exported: Path, student: Path, tmp_path) -> None:
    again = tmp_path / "again.onnx"
    found = export_onnx(student, again)
    assert found.difference < 1e-5 and found.same_class > 0.9999 and found.sizes == 5
    assert again.read_bytes() == exported.read_bytes()


@pytest.mark.parametrize("head", ["classifier", "query_reference_positional"])
def test_other_heads_are_exported_too(tmp_path: Path, student: Path, head: str) -> None:
    folder = shutil.copytree(student, tmp_path / "model")
    torch.manual_seed(0)
    deeplab = DeepLabV2("test_resnet", 16, branch_relu=True)
    w_q, w_r, positional = torch.randn(20, 16), torch.randn(20, 16), torch.randn(20, 6, 6)
    made = Student(deeplab, SegmentationHead(head, 20, 16, w_q=w_q, w_r=w_r, positional=positional))
    repackage(folder, made)
    assert export_onnx(folder, tmp_path / "x.onnx").difference < 1e-3


def repackage(folder: Path, student: Student) -> None:
    """Replace the weights in a model's folder."""
    student.save(folder / "model.safetensors")
    info = read_json_of(folder) | {"sha256": file_sha256(folder / "model.safetensors")}
    write_json(folder / "model.json", info)


def read_json_of(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text())


NO_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "timm", "open_clip", "onnx"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Refuse())
sys.argv = ["reclip", "predict", sys.argv[1], "--model", sys.argv[2], "--out", sys.argv[3]]
from reclip.cli.main import main
main()
assert "torch" not in sys.modules
print("without torch")
"""


def test_predicting_by_onnx_needs_no_torch(exported, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, str(photos), str(exported), str(out)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 photos segmented" in done.stdout and "without torch" in done.stdout
    assert (out / "masks/inner/a.png").is_file()


# ---------------------------------------------------------------- wrong exports


def test_an_export_that_differs_leaves_no_file(
    exported: Path, student: Path, tmp_path: Path, monkeypatch
) -> None:
    """As if the exporter had got a weight wrong."""
    folder = shutil.copytree(student, tmp_path / "model")
    other = Student.load(folder / "model.safetensors")
    with torch.no_grad():
        other.head.weight += 0.01
    repackage(folder, other)
    monkeypatch.setattr(onnx_export, "_traced", lambda model: exported.read_bytes())
    path = tmp_path / "x.onnx"
    for earlier in (False, True):
        if earlier:
            path.write_text("an earlier one")
        with pytest.raises(ReclipError, match=r"differs from PyTorch by 0\.\d+ .* was not written"):
            export_onnx(folder, path)
        assert {p.name for p in tmp_path.iterdir()} == {"model"} | (
            {"x.onnx"} if earlier else set()
        )
    assert path.read_text() == "an earlier one"


def test_nan_counts_as_a_difference(exported: Path, student: Path, tmp_path: Path) -> None:
    info, one = read_folder(student), Student.load(student / "model.safetensors")
    good = compare(exported, one, info)
    assert good.difference < 1e-3
    with torch.no_grad():
        one.head.weight[3] = float("nan")
    assert np.isnan(compare(exported, one, info).difference)
    with torch.no_grad():
        one.head.weight[3] = one.head.weight[4] + 1
    assert compare(exported, one, info).same_class < 0.999


def test_a_rectified_clip_is_not_exported(rectified: Path, tmp_path: Path) -> None:
    with pytest.raises(ReclipError, match="only a student can be exported: distil it"):
        export_onnx(rectified, tmp_path / "x.onnx")


def test_the_command_prints_the_agreement(
    exported: Path, student: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(onnx_export, "_traced", lambda model: exported.read_bytes())
    said = reclip("export", "--model", str(student), "--onnx", "deep/x.onnx")
    assert said.code == 0 and "100.000% of the pixels have the same class" in said.out
    assert Path("deep/x.onnx").is_file() and "at 5 sizes" in said.out
    assert "must end in .onnx" in reclip("export", "--model", str(student), "--onnx", "x.pt").err


# ---------------------------------------------------------------- upsampling without torch


@pytest.mark.parametrize("reading", READINGS)
def test_upsampling_without_torch_equals_torch(reading: str) -> None:
    pieces, arrays, frame = random_logits(reading)
    wanted = upsample_by_torch(pieces, frame).numpy()
    found = np.stack([upsample(arrays, frame, k) for k in range(5)])
    assert found.dtype == np.float32 and np.abs(found - wanted).max() < 1e-5
    mask = class_map(arrays, frame)
    assert mask.dtype == np.uint8
    assert (mask == class_map_by_torch(pieces, frame).numpy()).mean() > 0.99
    likely = probabilities(arrays, frame, 2.0)
    assert likely.dtype == np.float32
    assert np.allclose(likely, torch.from_numpy(2 * wanted).softmax(0).numpy(), atol=1e-5)


def test_of_equal_classes_the_first_is_taken() -> None:
    logits = np.zeros((3, 2, 2), np.float32)
    logits[1:] = 1
    pieces = [Piece(Window(0, 0, 16, 16), logits)]
    assert (class_map(pieces, Frame(8, (16, 16), (16, 16))) == 1).all()
