from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from reclip.clip.dense import interpolate_positional
from reclip.clip.text import ReferenceEncoder
from reclip.common.errors import ReclipError
from reclip.rectify.loss import contrastive_loss, gumbel_masks, masked_pool
from reclip.rectify.model import BiasModel, PositionalNet, Rectifier
from support.tiny_clip import tiny_clip

CLASSES = [["dog"], ["potted plant"], ["sky"]]
DIM, WIDTH = 12, 32


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


@pytest.fixture
def z() -> torch.Tensor:
    return F.normalize(torch.randn(2, 5, 7, DIM, generator=gen()), dim=-1)


def positional_net(channels: int = 3, **options) -> PositionalNet:
    net = PositionalNet(WIDTH, channels, hidden=(6, 4), **options)
    for i, parameter in enumerate(net.parameters()):
        parameter.data.normal_(generator=gen(10 + i))
    return net


def bias_model(clip, *, positional=None, query=False, reference=True, **options) -> BiasModel:
    def encoder(seed: int) -> ReferenceEncoder:
        out = ReferenceEncoder(clip, CLASSES, length=4)
        out.prompt.data.normal_(generator=gen(seed))
        return out

    return BiasModel(
        F.normalize(torch.randn(3, DIM, generator=gen(1)), dim=-1),
        clip.positional_embedding,
        clip.grid,
        reference=encoder(2) if reference else None,
        query=encoder(3) if query else None,
        positional=positional,
        **options,
    )


def rectification_loss(model: BiasModel, z: torch.Tensor) -> torch.Tensor:
    heads = model.heads()
    pooled = masked_pool(gumbel_masks(model(z).flatten(1, 2), 10.0), z.flatten(1, 2))
    hypotheses = torch.tensor([[True, False, True], [False, True, False]])
    return contrastive_loss(pooled, heads[0], hypotheses)


@pytest.mark.parametrize("combine", ["subtract", "add"])
@pytest.mark.parametrize("norm", ["frobenius", "row", "none"])
def test_logits_are_the_papers_formula(clip, z, combine, norm):
    net = positional_net()
    model = bias_model(clip, positional=net, combine=combine, reference_norm=norm).eval()
    w_r = model.reference()
    if norm == "frobenius":
        w_r = w_r / w_r.square().sum().sqrt()
    elif norm == "row":
        w_r = w_r / w_r.norm(dim=1, keepdim=True)
    pe = interpolate_positional(clip.positional_embedding, clip.grid, (5, 7))
    m_p = net(pe.reshape(1, 5, 7, WIDTH).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    m_b = z @ w_r.T + m_p
    m_q = z @ model.w_query.T
    wanted = m_q - m_b if combine == "subtract" else m_q + m_b
    torch.testing.assert_close(model(z), wanted, rtol=1e-5, atol=1e-5)


def test_parts_can_be_left_out(clip, z):
    model = bias_model(clip, reference=False)
    assert model.heads()[1] is None
    torch.testing.assert_close(model(z), z @ model.w_query.T)
    assert not list(model.parameters())


def test_learnable_query_replaces_the_fixed_one(clip, z):
    model = bias_model(clip, query=True)
    w_query, _ = model.heads()
    torch.testing.assert_close(w_query, F.normalize(model.query(), dim=-1))
    rectification_loss(model, z).backward()
    assert model.query.prompt.grad.abs().sum() > 0
    assert model.reference.prompt.grad.abs().sum() > 0
    torch.testing.assert_close(model.freeze().w_query, w_query)


def test_gradients_reach_every_learnable_tensor_and_no_other(clip, z):
    model = bias_model(clip, positional=positional_net())
    rectification_loss(model, z).backward()
    names = {name for name, _ in model.named_parameters()}
    assert {"reference.prompt", "positional.0.weight"} <= names
    assert not any("clip" in name or "transformer" in name for name in model.state_dict())
    assert all(p.grad is not None for p in model.parameters())
    assert all(p.grad is None for p in clip.model.parameters())


def test_a_positional_logit_shared_by_all_classes_cancels(clip, z):
    """The paper's Eq. 2 to the letter: why one channel per class is the default."""
    without = bias_model(clip)
    model = bias_model(clip, positional=positional_net(channels=1))
    assert model.positional_logits((5, 7)).abs().max() > 0.1
    m, m_without = model(z), without(z)
    assert not torch.allclose(m, m_without, atol=0.1)
    torch.testing.assert_close(m.softmax(-1), m_without.softmax(-1), rtol=1e-4, atol=1e-6)
    assert torch.equal(m.argmax(-1), m_without.argmax(-1))
    loss = rectification_loss(model, z)
    torch.testing.assert_close(loss, rectification_loss(without, z))
    per_class = bias_model(clip, positional=positional_net(channels=3))
    (loss + rectification_loss(per_class, z)).backward()
    largest = [
        max(p.grad.abs().max() for p in m.positional.parameters()) for m in (model, per_class)
    ]
    assert largest[0] < 1e-4 * largest[1]


def test_a_positional_net_of_other_channels_is_refused(clip):
    with pytest.raises(ReclipError, match="has 2 channels; give it one for each of the 3 classes"):
        bias_model(clip, positional=positional_net(channels=2))


def test_the_final_relu_is_an_option():
    x = torch.randn(1, WIDTH, 4, 4, generator=gen(5))
    with_relu, without = positional_net(), positional_net(final_relu=False)
    torch.testing.assert_close(with_relu(x), without(x).relu())
    assert without(x).min() < 0


def test_batch_statistics_are_over_the_positions_of_one_grid(clip, z):
    """A batch of images has the positional statistics of one image."""
    one = bias_model(clip, positional=positional_net())
    two = bias_model(clip, positional=positional_net())
    one(z[:1])
    two(z)
    for a, b in zip(one.positional.buffers(), two.positional.buffers(), strict=True):
        assert torch.equal(a, b)
    assert one.positional[1].running_mean.abs().max() > 0


@pytest.mark.parametrize("combine", ["subtract", "add"])
@pytest.mark.parametrize("parts", ["all", "reference", "query"])
def test_a_rectifier_is_the_model_in_eval_mode(clip, z, tmp_path, combine, parts):
    net = positional_net() if parts == "all" else None
    model = bias_model(clip, positional=net, reference=parts != "query", combine=combine)
    model(z)  # moves the running statistics
    frozen = model.freeze()
    wanted = model.eval()(z)
    torch.testing.assert_close(frozen(z), wanted)
    assert not frozen.train().training
    assert not any(p.requires_grad for p in frozen.parameters())

    frozen.save(tmp_path / "a.safetensors")
    loaded = Rectifier.load(tmp_path / "a.safetensors")
    assert torch.equal(loaded(z), frozen(z))
    loaded.save(tmp_path / "b.safetensors")
    saved = [(tmp_path / f"{name}.safetensors").read_bytes() for name in "ab"]
    assert saved[0] == saved[1]


def test_freezing_copies(clip, z):
    model = bias_model(clip, positional=positional_net())
    frozen = model.freeze()
    before = frozen(z)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    model(z)
    assert torch.equal(frozen(z), before)


def test_a_query_alone_is_a_rectifier(z, tmp_path):
    w_query = torch.randn(3, DIM, generator=gen(1))
    Rectifier(w_query).save(tmp_path / "query.safetensors")
    loaded = Rectifier.load(tmp_path / "query.safetensors")
    torch.testing.assert_close(loaded(z), z @ w_query.T)
    assert list(loaded.state_dict()) == ["w_query"]


def test_files_that_are_no_rectifier(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "rectifier.safetensors"
    with pytest.raises(ReclipError, match="no trained rectifier at"):
        Rectifier.load(path)
    path.write_bytes(b"damaged")
    with pytest.raises(ReclipError, match="damaged"):
        Rectifier.load(path)
    save_file({"w_query": torch.zeros(1, 1)}, path)
    with pytest.raises(ReclipError, match="no rectifier of this version"):
        Rectifier.load(path)


def test_a_rectifier_needs_no_open_clip(tmp_path, clip, z):
    path = tmp_path / "rectifier.safetensors"
    bias_model(clip, positional=positional_net()).freeze().save(path)
    code = (
        "import sys, torch; from reclip.rectify.model import Rectifier;"
        f"m = Rectifier.load({str(path)!r})(torch.zeros(1, 2, 3, {DIM}));"
        "assert m.shape == (1, 2, 3, 3) and 'open_clip' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
