from __future__ import annotations

import os
import pickle
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reclip.common.errors import ReclipError
from reclip.weights.state_dict import misfit, read_state_dict
from reclip.weights.torchscript import read_torchscript

STATE = {"a.weight": torch.arange(2000.0), "b": torch.ones(2, 3, dtype=torch.float16)}


class Net(torch.nn.Module):
    """Parameters, a buffer, tied weights, a view, plain attributes and lists."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 4)
        self.blocks = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
        self.tied = self.first
        self.view = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4).T[1:])
        self.words = ["a", "b"]
        self.table = {"a": 1}
        self.none = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(self.tied(x)) + self.view[0, 0] + float(self.table["a"])


def write(kind: str, folder: Path) -> Path:
    path = folder / kind  # the name says nothing of the format
    if kind == "safetensors":
        save_file(STATE, path)
    elif kind == "legacy":
        torch.save(STATE, path, _use_new_zipfile_serialization=False)
    elif kind == "zip":
        torch.save(STATE, path)
    elif kind == "checkpoint":
        named = {f"module.{name}": t for name, t in STATE.items()}
        torch.save({"epoch": 1, "model": named, "optimizer": {"lr": 0.1}}, path)
    return path


@pytest.mark.parametrize("kind", ["safetensors", "legacy", "zip", "checkpoint"])
def test_formats(kind, tmp_path):
    state = read_state_dict(write(kind, tmp_path), "key")
    assert state.keys() == STATE.keys()
    for name, tensor in state.items():
        assert tensor.dtype == STATE[name].dtype
        assert torch.equal(tensor, STATE[name])


@pytest.mark.parametrize("kind", ["safetensors", "legacy", "zip"])
def test_cut_files(kind, tmp_path):
    path = write(kind, tmp_path)
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(ReclipError, match=rf"params: 'key': '{path}' is cut short or damaged"):
        read_state_dict(path, "key")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html>\n<html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer"),
        (b"once upon a time", "is in no known format"),
    ],
)
def test_files_of_no_weights_format(content, what, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ReclipError, match=what):
        read_state_dict(path, "key")


@pytest.mark.parametrize("new", [True, False])
def test_python_objects_are_refused(new, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"x": subprocess.Popen}, path, _use_new_zipfile_serialization=new)
    with pytest.raises(ReclipError, match="holds Python objects .* could run code"):
        read_state_dict(path, "key")


@pytest.mark.parametrize("content", [[1, 2], torch.ones(3), {"a": "b"}, {}])
def test_files_without_tensors(content, tmp_path):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ReclipError, match="holds no tensors"):
        read_state_dict(tmp_path / "weights.pt", "key")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compiled", ["scripted", "traced"])
def test_torchscript_without_running_it(compiled, tmp_path, monkeypatch):
    net = Net().eval()
    compile_ = torch.jit.script if compiled == "scripted" else torch.jit.trace
    module = compile_(net, *([torch.zeros(2, 4)] if compiled == "traced" else []))
    module.save(str(tmp_path / "net.pt"))
    monkeypatch.setattr("torch.jit.load", None)
    state = read_state_dict(tmp_path / "net.pt", "key")
    assert state.keys() == module.state_dict().keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, module.state_dict()[name]), name


@pytest.mark.filterwarnings("ignore")
def test_torchscript_of_a_gpu(tmp_path):
    """OpenAI's archives say that their tensors are on a GPU."""
    torch.jit.script(Net()).save(str(tmp_path / "net.pt"))
    with (
        zipfile.ZipFile(tmp_path / "net.pt") as source,
        zipfile.ZipFile(tmp_path / "gpu.pt", "w") as target,
    ):
        for name in source.namelist():
            cpu, gpu = (len(w).to_bytes(4, "little") + w for w in (b"cpu", b"cuda:0"))
            target.writestr(name, source.read(name).replace(cpu, gpu))
    state = read_state_dict(tmp_path / "gpu.pt", "key")
    assert {t.device.type for t in state.values()} == {"cpu"}
    assert torch.equal(state["view"], Net().view)


def test_a_hostile_archive_runs_nothing(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    with zipfile.ZipFile(tmp_path / "bomb.pt", "w") as archive:
        archive.writestr("bomb/data.pkl", pickle.dumps(Bomb(), protocol=2))
        archive.writestr("bomb/code/__torch__.py", "")
    assert read_torchscript(tmp_path / "bomb.pt") == {}
    assert not (tmp_path / "exploded").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_archive(tmp_path):
    path = tmp_path / "net.pt"
    torch.jit.script(Net()).save(str(path))
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(12.0).numpy().tobytes()) + 4] ^= 255  # in `view`
    path.write_bytes(content)
    with pytest.raises(ReclipError, match=r"cut short or damaged \(BadZipFile\)"):
        read_state_dict(path, "key")


def test_misfit():
    wanted = {"a": torch.zeros(2), "bn.num_batches_tracked": torch.zeros(())}
    assert misfit({"a": torch.zeros(2)}, wanted) is None
    assert misfit(wanted, wanted) is None
    other_shape = misfit({"a": torch.zeros(3)}, wanted)
    assert other_shape == "a is (3,) there and (2,) in the model; tensors that differ: 1"
    assert misfit({}, wanted).startswith("a is absent there and (2,) in the model")
    assert misfit({**wanted, "b": torch.zeros(1), "c": torch.zeros(1)}, wanted) == (
        "b is (1,) there and absent in the model; tensors that differ: 2"
    )
