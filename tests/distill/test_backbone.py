from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet50

from reclip.common.errors import ReclipError
from reclip.distill.backbone import create_backbone

TINY = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 24], "stem_type": "deep", "stem_width": 8}
STRIDE = 8


def seeded(model: nn.Module) -> dict[str, Tensor]:
    """The model's state dict with seeded numbers, also where a new model has zeros and ones."""
    generator = torch.Generator().manual_seed(5)
    for tensor in model.state_dict().values():
        if tensor.dtype == torch.float32:
            start = 0.5 if tensor.ndim == 1 else -(tensor[0].numel() ** -0.5)
            tensor.uniform_(start, abs(start) * (3 if tensor.ndim == 1 else 1), generator=generator)
    return model.state_dict()


@pytest.fixture(scope="module")
def tiny() -> dict[str, Tensor]:
    return seeded(timm.create_model("resnet18", **TINY))


@pytest.fixture(scope="module")
def v1c() -> dict[str, Tensor]:
    return seeded(timm.create_model("resnet50c"))


@torch.no_grad()
def features(backbone: nn.Module) -> Tensor:
    images = torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(6))
    return backbone.eval()(images)[-1]


def expected(name: str, state: dict[str, Tensor], **args) -> Tensor:
    backbone = timm.create_model(
        name, features_only=True, output_stride=STRIDE, out_indices=(-1,), **args
    )
    backbone.load_state_dict({k: t for k, t in state.items() if not k.startswith("fc.")})
    return features(backbone)


def open_mmlab(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """In open-mmlab's names, and without what PyTorch before 0.4.1 did not save."""
    out = {}
    for name, tensor in state.items():
        if name.startswith("conv1."):
            name = name.replace("conv1.", "stem.", 1)
        elif name.startswith("bn1."):
            name = name.replace("bn1.", "stem.7.", 1)
        out[name] = tensor
    return {k: t for k, t in out.items() if not k.endswith("num_batches_tracked")}


def write(kind: str, state: dict[str, Tensor], folder: Path) -> Path:
    path = folder / f"weights.{'safetensors' if kind == 'safetensors' else 'pth'}"
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "pth":
        torch.save(state, path)
    elif kind == "headless":
        torch.save({k: t for k, t in state.items() if not k.startswith("fc.")}, path)
    elif kind == "training":
        named = {f"module.{name}": t for name, t in state.items()}
        torch.save({"epoch": 1, "arch": "resnet18", "state_dict": named}, path)
    elif kind == "mmlab":
        torch.save({"state_dict": open_mmlab(state), "meta": {}}, path)
    elif kind == "mmlab_old":
        torch.save(open_mmlab(state), path, _use_new_zipfile_serialization=False)
    return path


@pytest.mark.parametrize(
    "kind", ["safetensors", "pth", "headless", "training", "mmlab", "mmlab_old"]
)
def test_every_format_gives_the_same_features(tiny, kind, tmp_path):
    backbone = create_backbone("resnet18", TINY, STRIDE, checkpoint=write(kind, tiny, tmp_path))
    assert torch.equal(features(backbone), expected("resnet18", tiny, **TINY))
    assert "state_dict" not in backbone.pretrained_cfg


def test_v1c_from_open_mmlabs_file(v1c, tmp_path, caplog):
    """The official code's student starts from such a file."""
    caplog.set_level("INFO")
    path = write("mmlab_old", v1c, tmp_path)
    backbone = create_backbone("resnet50c", {}, STRIDE, checkpoint=str(path))
    found = features(backbone)
    assert found.shape == (1, 2048, 5, 7)
    assert found.isfinite().all()
    assert found.std() > 0
    assert torch.equal(found, expected("resnet50c", v1c))
    assert f"backbone weights: {path}, sha256 " in caplog.text


def test_v1_from_torchvisions_file(tmp_path):
    """timm's dilated network computes what torchvision's own does."""
    source = resnet50(replace_stride_with_dilation=[False, True, True])
    path = write("pth", seeded(source), tmp_path)
    source.fc = source.avgpool = nn.Identity()
    found = features(create_backbone("resnet50", {}, STRIDE, checkpoint=path))
    images = torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        wanted = source.eval()(images).reshape(found.shape)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().mean().item())


def test_timms_own_weights(tiny, monkeypatch):
    """Downloaded without the settings' arguments, compared with the network that has them."""
    create = timm.create_model
    own = create("resnet18", **TINY)
    own.load_state_dict(tiny)

    def no_network(name: str, **args):
        return own if args == {"pretrained": True} else create(name, **args)

    monkeypatch.setattr(timm, "create_model", no_network)
    backbone = create_backbone("resnet18", TINY, STRIDE, pretrained=True)
    assert torch.equal(features(backbone), expected("resnet18", tiny, **TINY))
    with pytest.raises(ReclipError, match="timm's download does not fit timm's resnet18"):
        create_backbone("resnet18", {**TINY, "layers": [1, 1, 2, 1]}, STRIDE, pretrained=True)


def test_a_failed_download_says_what_to_fetch(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(timm, "create_model", refuse)
    wanted = (
        r"weights of resnet50c \(no route to host\): fetch model.safetensors of"
        r" https://huggingface.co/timm/resnet50c.gluon_in1k .* distill.checkpoint"
    )
    with pytest.raises(ReclipError, match=wanted):
        create_backbone("resnet50c", {}, STRIDE, pretrained=True)


def test_weights_do_not_change_what_comes_after(tiny, tmp_path):
    """The rest of the student starts from the same numbers with and without a file."""
    path = write("pth", tiny, tmp_path)
    drawn = []
    for checkpoint in (None, path):
        torch.manual_seed(0)
        create_backbone("resnet18", TINY, STRIDE, checkpoint=checkpoint)
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"layer1.0.conv2.weight": None}, r"layer1.0.conv2.weight is absent there and \(8, 8, 3"),
        ({"bn1.running_var": None}, "bn1.running_var is absent"),
        ({"layer1.7.conv1.weight": torch.zeros(1)}, r"is \(1,\) there and absent in the model"),
        ({"conv1.0.weight": torch.zeros(8, 3, 7, 7)}, r"is \(8, 3, 7, 7\) there and \(8, 3, 3, 3"),
    ],
)
def test_no_tensor_is_passed_over(tiny, change, what, tmp_path):
    changed = {k: t for k, t in (tiny | change).items() if t is not None}
    path = write("pth", changed, tmp_path)
    with pytest.raises(ReclipError, match=rf"'{path}' does not fit timm's resnet18 \(.*{what}"):
        create_backbone("resnet18", TINY, STRIDE, checkpoint=path)


def test_a_tensor_that_dilation_leaves_no_place_for(tmp_path):
    """Without its stride and with as many channels the last stage needs no shortcut."""
    args = {**TINY, "channels": [8, 8, 16, 16]}
    path = write("pth", timm.create_model("resnet18", **args).state_dict(), tmp_path)
    with pytest.raises(
        ReclipError, match=r"layer4.0.downsample.0.weight is .* absent in the model"
    ):
        create_backbone("resnet18", args, STRIDE, checkpoint=path)


def test_other_files(tiny, tmp_path):
    path = write("mmlab", tiny, tmp_path)
    wanted = r"does not fit timm's resnet50c .*, such as https://download.openmmlab.com/\S+2cccc1ad"
    with pytest.raises(ReclipError, match=wanted):
        create_backbone("resnet50c", {}, STRIDE, checkpoint=path)
    named = path.rename(tmp_path / "resnet50_v1c-2cccc1ad.pth")
    with pytest.raises(ReclipError, match="is named like open-mmlab's resnet50_v1c, but"):
        create_backbone("resnet50c", {}, STRIDE, checkpoint=named)
    with pytest.raises(ReclipError, match=r"no file 'gone.pth': download https://\S+e67eebb6.pth"):
        create_backbone("resnet101c", {}, STRIDE, checkpoint="gone.pth")
    named.with_name("page.pth").write_text("<html>not found</html>")
    with pytest.raises(ReclipError, match="'distill.checkpoint': .* is a web page"):
        create_backbone("resnet18", TINY, STRIDE, checkpoint=named.with_name("page.pth"))
    with pytest.raises(ReclipError, match="no model 'resnet-18'"):
        create_backbone("resnet-18", {}, STRIDE)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("resnet18", {"no_such_argument": 3}),
        ("resnet18", {"act_layer": "no_such_layer"}),
        ("resnet18", {"features_only": False}),  # ours to say
        ("resnet18", {"pretrained": True}),
        ("vit_tiny_patch16_224", {}),
        ("vgg11", {}),
    ],
)
def test_a_network_that_cannot_be_dilated_is_one_sentence(name, args):
    with pytest.raises(ReclipError, match=rf"timm cannot build {name} .*: change one of the two"):
        create_backbone(name, args, 8)


def test_wrong_arguments_are_found_before_the_weights_are_compared(tmp_path):
    file = tmp_path / "resnet18.safetensors"
    save_file({"fc.weight": torch.zeros(1)}, file)
    with pytest.raises(ReclipError, match="timm cannot build resnet18"):
        create_backbone("resnet18", {"no_such_argument": 3}, 8, checkpoint=file)
