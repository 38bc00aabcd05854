from __future__ import annotations

import os
import pickle
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reclip.common.errors import ReclipError
from reclip.weights.finite import not_finite
from reclip.weights.state_dict import misfit, read_state_dict
from reclip.weights.torchscript import read_torchscript
from reclip.weights.unwrap import bare_names

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


# ---------------------------------------------------------------- tensors that are not finite

BAD = {
    "nan": (torch.tensor([1.0, float("nan")]), "NaN in b"),
    "inf": (torch.tensor([1.0, float("inf")]), "infinity in b"),
    "-inf": (torch.tensor([1.0, float("-inf")], dtype=torch.float16), "infinity in b"),
    "bfloat16": (torch.tensor([float("inf")], dtype=torch.bfloat16), "infinity in b"),
    "too large": (torch.tensor([1e300], dtype=torch.float64), "numbers too large for float32 in b"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_tensor_that_is_not_finite_is_refused(kind, wrapped, tmp_path):
    tensor, words = BAD[kind]
    state = {"a": torch.ones(2), "b": tensor}
    torch.save({"state_dict": state} if wrapped else state, tmp_path / "weights.pt")
    with pytest.raises(ReclipError, match=f"'key': '.*' holds {words}: get the file again"):
        read_state_dict(tmp_path / "weights.pt", "key")


def test_a_sparse_tensor_is_checked_and_made_dense(tmp_path):
    torch.save({"a": torch.eye(2).to_sparse()}, tmp_path / "weights.pt")
    assert torch.equal(read_state_dict(tmp_path / "weights.pt", "key")["a"], torch.eye(2))
    torch.save({"a": (torch.eye(2) * float("inf")).to_sparse()}, tmp_path / "weights.pt")
    with pytest.raises(ReclipError, match="holds NaN in a"):
        read_state_dict(tmp_path / "weights.pt", "key")


def test_the_minus_infinity_of_a_causal_mask_is_no_fault():
    assert not_finite({"attn_mask": torch.full((2, 2), float("-inf"))}) is None


# ---------------------------------------------------------------- which weights of a checkpoint

RAW, EMA = {"a": torch.ones(2)}, {"a": torch.full((2,), 5.0)}


def prefixed(prefix: str, state: dict) -> dict:
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"state_dict": RAW, "state_dict_ema": EMA},
        {"state_dict_ema": prefixed("module.", EMA), "epoch": 3, "state_dict": RAW},
        {"model": RAW, "model_ema": EMA, "optimizer": {"state": {0: {"exp_avg": RAW["a"]}}}},
        {"model": RAW, "ema": {"decay": 0.99, "module": EMA}},
        {"model": RAW, "ema": {"decay": torch.tensor(0.99), "state_dict": EMA}},
        {"params": RAW, "params_ema": EMA},
        {"model_state_dict": RAW, "ema_state_dict": EMA},
        {"step": torch.tensor(1), **prefixed("online_model.", RAW), **prefixed("ema_model.", EMA)},
        {"state_dict": prefixed("model.", RAW) | prefixed("model_ema.module.", EMA)},
        {"epoch": torch.tensor(1), "state_dict": RAW, "state_dict_ema": EMA},
    ],
)
def test_averaged_weights_are_taken_as_timm_does_and_said(checkpoint, tmp_path, caplog):
    caplog.set_level("INFO")
    torch.save(checkpoint, tmp_path / "weights.pt")
    found = read_state_dict(tmp_path / "weights.pt", "key")
    assert found.keys() == {"a"} and torch.equal(found["a"], EMA["a"])
    assert re.search(r"weights.pt': weights under '.*' \(averaged, .*; not used: ", caplog.text)


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"state_dict": RAW, "state_dict_ema": None},
        {"model": RAW, "state_dict": prefixed("module.", RAW)},  # equal
        {"net": RAW, "criterion": {"centre": torch.zeros(3)}, "ema": {}},
        {**RAW, "extra": {"running": torch.zeros(3)}},
        {"G": RAW},
    ],
)
def test_weights_are_taken_where_there_is_one_set(checkpoint, tmp_path):
    torch.save(checkpoint, tmp_path / "weights.pt")
    assert torch.equal(read_state_dict(tmp_path / "weights.pt", "key")["a"], RAW["a"])


def test_averages_that_cannot_be_used_are_said(tmp_path, caplog):
    caplog.set_level("INFO")
    torch.save({"state_dict": RAW, "ema": {"shadow_params": [EMA["a"]]}}, tmp_path / "weights.pt")
    assert torch.equal(read_state_dict(tmp_path / "weights.pt", "key")["a"], RAW["a"])
    assert "weights under 'state_dict'; not used: ema" in caplog.text


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"model": RAW, "state_dict": EMA},
        {"student": RAW, "teacher": EMA},
        {"ema_0.99": RAW, "ema_0.999": EMA},
    ],
)
def test_several_sets_of_weights_that_differ_are_refused(checkpoint, tmp_path):
    torch.save(checkpoint, tmp_path / "weights.pt")
    one, other = checkpoint
    words = f"holds several sets of weights that differ, '{one}' and '{other}': save the one to use"
    with pytest.raises(ReclipError, match=words):
        read_state_dict(tmp_path / "weights.pt", "key")


# ---------------------------------------------------------------- names of wrapped models


@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.", "model.",
     "_orig_mod._orig_mod.", "model._fsdp_wrapped_module.clip.", "module._orig_mod.model."],
)  # fmt: skip
@pytest.mark.parametrize("format", ["pt", "safetensors"])
def test_prefixes_of_wrappers_are_removed_in_any_order(prefix, format, tmp_path):
    path, state = tmp_path / "weights", prefixed(prefix, STATE)
    save_file(state, path) if format == "safetensors" else torch.save({"model": state}, path)
    assert read_state_dict(path, "key").keys() == STATE.keys()


def test_parts_that_were_compiled_alone_get_their_names(tmp_path):
    state = {"visual._orig_mod.a.weight": torch.ones(1), "b": torch.ones(1)}
    torch.save(state, tmp_path / "weights.pt")
    assert read_state_dict(tmp_path / "weights.pt", "key").keys() == {"visual.a.weight", "b"}


def test_a_counter_of_averaging_does_not_hide_the_prefix(tmp_path):
    state = {"n_averaged": torch.tensor(3), **prefixed("module.", STATE)}
    torch.save(state, tmp_path / "weights.pt")
    assert read_state_dict(tmp_path / "weights.pt", "key").keys() == STATE.keys()


def test_a_prefix_that_some_names_lack_is_part_of_the_name():
    state = {"model.a": 1.0, "head.a": 2.0}
    assert bare_names(state) == state


def test_a_compiled_and_a_plain_copy_of_a_tensor_are_refused(tmp_path):
    torch.save({"_orig_mod.a": torch.ones(1), "a": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(ReclipError, match="a compiled and a plain copy of the same weights"):
        read_state_dict(tmp_path / "weights.pt", "key")


def test_whole_numbers_are_no_weights():
    state = {"a": torch.zeros(2, dtype=torch.int8), "scale": torch.tensor(100)}
    wanted = {"a": torch.zeros(2), "scale": torch.zeros(())}
    assert misfit(state, wanted).startswith("a is of int8 there and (2,) in the model")


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
