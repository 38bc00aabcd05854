"""Models that are missing, damaged, stale or of another program: one sentence with the fix."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from safetensors.numpy import save_file

from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256, read_json, write_json
from reclip.inference.segmenter import Segmenter
from support.at_the_shell import one_sentence, reclip


def change(folder: Path, **keys) -> None:
    write_json(folder / "model.json", read_json(folder / "model.json") | keys)


def new_weights(folder: Path, write: Callable[[Path], None]) -> None:
    write(folder / "model.safetensors")
    change(folder, sha256=file_sha256(folder / "model.safetensors"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


LISTED = ("classes", "palette")

# damage to a copy of the packaged student -> words of the error
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "is not a folder with model.json and model.safetensors: name"),
    "an empty folder": (lambda f: [p.unlink() for p in f.iterdir()], "has no model.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no model.json and"),
    "weights cut": (lambda f: cut(f / "model.safetensors"), "is damaged, or not the file that"),
    "other weights": (
        lambda f: save_file({"x": np.zeros(1)}, f / "model.safetensors"),
        "is damaged, or not the file that model.json describes",
    ),
    "foreign weights": (
        lambda f: new_weights(f, lambda p: save_file({"x": np.zeros(1)}, p)),
        "is not a saved student",
    ),
    "no safetensors": (
        lambda f: new_weights(f, lambda p: p.write_text("text")), "is not a saved student",
    ),
    "not json": (lambda f: (f / "model.json").write_text("{"), "does not describe a model"),
    "binary": (lambda f: (f / "model.json").write_bytes(b"\xff\xfe\xff"), "not describe a model"),
    "another's json": (lambda f: (f / "model.json").write_text("[1]"), "does not describe a model"),
    "another format": (lambda f: change(f, format="reclip-model-9"), "its format is not reclip-m"),
    "an unknown key": (lambda f: change(f, extra=1), "its 'extra' is not valid"),
    "a colour too few": (
        lambda f: change(f, palette=read_json(f / "model.json")["palette"][1:]),
        "its 'palette' is not valid",
    ),
    "a class too few": (
        lambda f: change(f, **{k: read_json(f / "model.json")[k][1:] for k in LISTED}),
        " classes, but model.json names",
    ),
    "no classes": (lambda f: change(f, classes=[]), "its 'classes' is not valid"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_folders_that_are_not_models(student: Path, tmp_path: Path, damage: str) -> None:
    folder = shutil.copytree(student, tmp_path / "model")
    harm, words = DAMAGES[damage]
    harm(folder)
    with pytest.raises(ReclipError) as caught:
        Segmenter.load(folder, device="cpu")
    assert words in str(caught.value) and str(folder) in str(caught.value)


def test_a_weights_file_is_not_a_model(student: Path) -> None:
    with pytest.raises(ReclipError, match=r"model.safetensors' is not a folder with model.json"):
        Segmenter.load(student / "model.safetensors")


def test_weights_of_another_kind_are_refused(
    rectified: Path, student: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(rectified, tmp_path / "model")
    change(folder, kind="student", stride=8)
    with pytest.raises(ReclipError, match="is not a saved student"):
        Segmenter.load(folder, device="cpu")
    folder = shutil.copytree(student, tmp_path / "other")
    change(folder, kind="rectified-clip", clip=read_json(rectified / "model.json")["clip"])
    with pytest.raises(ReclipError, match="is no rectifier of this version"):
        Segmenter.load(folder, device="cpu")


def test_a_rectified_clip_needs_the_same_clip(rectified: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(rectified, tmp_path / "model")
    clip = read_json(folder / "model.json")["clip"]
    change(folder, clip={**clip, "sha256": "0" * 64})
    with pytest.raises(ReclipError, match=r"is not the CLIP that this model .* with --clip"):
        Segmenter.load(folder, device="cpu")
    change(folder, clip=clip)
    with pytest.raises(ReclipError, match=r"no file 'gone.pt'"):
        Segmenter.load(folder, device="cpu", clip="gone.pt")


def test_clip_weights_may_be_moved(rectified: Path, tmp_path: Path, noise) -> None:
    from reclip.weights.identity import PACKAGED

    elsewhere = shutil.copyfile(PACKAGED / "mini-clip.safetensors", tmp_path / "moved.safetensors")
    folder = shutil.copytree(rectified, tmp_path / "model")
    clip = read_json(folder / "model.json")["clip"]
    change(folder, clip={**clip, "settings": {**clip["settings"], "checkpoint": "/gone.pt"}})
    found = Segmenter.load(folder, device="cpu", clip=str(elsewhere))(noise)
    assert (found.mask == Segmenter.load(rectified, device="cpu")(noise).mask).all()


# ---------------------------------------------------------------- ONNX files


def foreign(path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    opset = onnx.helper.make_opsetid("", 17)
    graph = onnx.helper.make_graph([node], "g", [value], [out])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), path)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (Path.unlink, "no file '"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), "no file '"),
    "cut": (cut, "as an ONNX model: "),
    "text": (lambda p: p.write_text("text"), "as an ONNX model: "),
    "empty": (lambda p: p.write_text(""), "as an ONNX model: "),
    "another's": (foreign, "was not written by reclip: write a file with `reclip export"),
}


@pytest.mark.parametrize("damage", FILES)
def test_files_that_are_not_exported_students(exported: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.onnx"
    shutil.copyfile(exported, path)
    harm, words = FILES[damage]
    harm(path)
    with pytest.raises(ReclipError) as caught:
        Segmenter.load(path)
    assert words in str(caught.value) and "x.onnx" in str(caught.value)


def test_an_exported_student_of_another_version(exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    for entry in model.metadata_props:
        if entry.key == "reclip":
            entry.value = json.dumps(json.loads(entry.value) | {"format": "reclip-model-9"})
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(ReclipError, match="is of another version of reclip"):
        Segmenter.load(tmp_path / "x.onnx")


def test_exporting_a_missing_model_is_one_sentence(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = reclip("export", "--model", "nowhere", "--onnx", "x.onnx")
    assert "'nowhere' is not a folder with model.json" in one_sentence(said)


# ---------------------------------------------------------------- runs


@pytest.fixture
def copy(trained: Path, tmp_path: Path, monkeypatch) -> Path:
    """A copy of the trained project, which the test may change."""
    folder = shutil.copytree(trained, tmp_path / "project")
    monkeypatch.chdir(folder)
    Image.new("RGB", (8, 8)).save("photo.png")
    return folder


def test_a_run_s_own_model_is_used(copy: Path) -> None:
    said = reclip("predict", "photo.png", "--run", "distill", "--device", "cpu")
    assert said.code == 0 and (copy / "predictions/masks/photo.png").is_file()


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("distil", "no run 'distil' for package; did you mean 'distill'?"),
        ("query", "no run 'query' for package; known: distill, ref-pe"),
    ],
)
def test_an_unknown_run_is_named_with_the_nearest(copy: Path, run: str, words: str) -> None:
    for command in (["predict", "photo.png"], ["export", "--onnx", "x.onnx"]):
        assert words in one_sentence(reclip(*command, "--run", run))


def test_a_missing_model_is_named_with_the_command(copy: Path) -> None:
    shutil.rmtree("results/tiny/runs/distill/model")
    line = one_sentence(reclip("predict", "photo.png", "--run", "distill"))
    assert "the model of run 'distill' is stale (not made yet): run `snakemake " in line
    assert (
        "results/tiny/runs/distill/model/receipt.json" in line and not Path("predictions").exists()
    )


def test_the_command_in_an_error_names_the_settings_file(copy: Path) -> None:
    shutil.rmtree("results/tiny/runs/distill/model")
    Path("params.yaml").rename("my own.yaml")
    receipt = "results/tiny/runs/distill/model/receipt.json"
    wanted = f"run `snakemake {receipt} --config params='my own.yaml'` first"
    own = ("--run", "distill", "--params", "my own.yaml")
    assert wanted in one_sentence(reclip("predict", "photo.png", *own))
    shutil.rmtree("results/tiny/data/voc")
    line = one_sentence(reclip("package", *own))
    assert "receipt.json --config params='my own.yaml'` first" in line


def test_a_model_of_other_settings_is_refused(copy: Path) -> None:
    text = Path("params.yaml").read_text().replace("logit_scale: 30", "logit_scale: 20")
    Path("params.yaml").write_text(text)
    line = one_sentence(reclip("export", "--run", "distill", "--onnx", "x.onnx"))
    assert "the model of run 'distill' is stale (" in line and "logit_scale 30" in line


def test_a_run_needs_a_settings_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = one_sentence(reclip("predict", "photo.png", "--run", "distill"))
    assert "no settings file 'params.yaml'" in line
