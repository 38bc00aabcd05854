"""ReCLIP++: its formula, its trained form, its file, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional as F

from reclip.clip.dense import interpolate_positional
from reclip.common.errors import ReclipError
from reclip.config.models import DistillSettings, RectifySettings
from reclip.distill.learn import build_student
from reclip.rectify.health import Health, notes
from reclip.rectify.learn import Batch, build_model, losses
from reclip.rectify.model import BiasModel, PositionalNet, Rectifier
from reclip.training.share import Share
from support.plain_plus import plain_logits, plain_loss
from support.tiny_clip import tiny_clip

NAMES = [["dog"], ["potted plant"], ["sky"]]
GRID, CLASSES, DIM = (5, 7), 3, 12
HYPOTHESES = [[0, 2], [1]]


def settings_of(**changes) -> RectifySettings:
    given = {"model": "reclip++", "prompt_length": 4, "gumbel_scale": 100, **changes}
    return RectifySettings(**given)


def learner(
    settings: RectifySettings | None = None, dtype: torch.dtype = torch.float64
) -> BiasModel:
    """Return a model whose every weight counts."""
    clip = tiny_clip()
    clip.model.to(dtype)
    torch.manual_seed(0)
    w_query = F.normalize(torch.randn(CLASSES, DIM), dim=-1).to(dtype)
    model = build_model(clip, NAMES, w_query, settings or settings_of()).to(dtype)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture
def z() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return F.normalize(torch.randn(2, *GRID, DIM, generator=generator), dim=-1).double()


def plain(model: BiasModel, z: torch.Tensor):
    places = interpolate_positional(model.positional_embedding, model.native_grid, GRID)
    raw = model.reference()
    reference = raw / raw.square().sum().sqrt()
    weights = dict(model.named_parameters())
    return plain_logits(weights, z, places.unflatten(0, GRID), model.w_query, reference)


def test_logits_loss_and_gradients_are_those_of_plain_sums(z) -> None:
    model = learner()
    found = plain(model, z)
    wanted_loss = plain_loss(found.d, z, model.w_query, HYPOTHESES)
    weights = dict(model.named_parameters())
    wanted = torch.autograd.grad(wanted_loss, list(weights.values()))

    exact = {"rtol": 1e-7, "atol": 1e-12}
    torch.testing.assert_close(model.positional_logits(GRID), found.bias, **exact)
    torch.testing.assert_close(model(z), found.d, **exact)
    assert found.bias.min() < 0 < found.bias.max()
    present = torch.zeros(2, CLASSES, dtype=torch.bool)
    for row, classes in zip(present, HYPOTHESES, strict=True):
        row[classes] = True
    batch = Batch(z, torch.ones(2, *GRID, dtype=torch.bool), present)
    loss = losses(model, batch, Share(2), settings_of())["contrastive"]
    assert loss.item() == pytest.approx(wanted_loss.item(), rel=1e-7)
    loss.backward()
    for name, gradient in zip(weights, wanted, strict=True):
        torch.testing.assert_close(weights[name].grad, gradient, rtol=1e-7, atol=1e-10)
    assert all(weights[n].grad.abs().max() > 1e-6 for n in weights if n != "decoder.conv.bias")


def test_the_bias_may_be_added_and_the_query_learned(z) -> None:
    """The variants of Tables 3 and 5."""
    added = learner(settings_of(combine="add"))
    seen = []
    added.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    added(z)
    bias = added.positional_logits(GRID)
    torch.testing.assert_close(seen[0], z @ added.w_query.T + bias)

    learned = learner(settings_of(learn_query=True))
    learned.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    learned(z)
    w_query, _ = learned.heads()
    torch.testing.assert_close(seen[1], z @ w_query.T - learned.positional_logits(GRID))
    torch.testing.assert_close(learned.freeze().w_query, w_query)


def test_batch_statistics_are_over_all_images(z) -> None:
    model = learner()
    model(z)
    d = model.decoder.conv(
        torch.cat([z, z @ model.w_query.T - model.positional_logits(GRID)], -1).permute(0, 3, 1, 2)
    )
    running = model.decoder.norm
    torch.testing.assert_close(running.running_mean, 0.1 * d.mean((0, 2, 3)))
    torch.testing.assert_close(running.running_var, 0.9 + 0.1 * d.var((0, 2, 3)))


def test_the_decoder_starts_with_kaimings_weights() -> None:
    torch.manual_seed(0)
    w_query = torch.randn(CLASSES, DIM)
    conv = build_model(tiny_clip(), NAMES, w_query, settings_of()).decoder.conv
    assert conv.weight.std().item() == pytest.approx((2 / (CLASSES * 25)) ** 0.5, rel=0.05)
    assert (conv.bias == 0).all()


def test_the_trained_form_is_the_model_in_eval_mode(z, tmp_path) -> None:
    model, z = learner(dtype=torch.float32), z.float()
    model(z)  # moves the running statistics
    frozen = model.freeze()
    torch.testing.assert_close(frozen(z), model.eval()(z))
    torch.testing.assert_close(frozen.positional_logits(GRID), model.positional_logits(GRID))
    assert not frozen.train().training
    assert not any(p.requires_grad for p in frozen.parameters())

    frozen.save(tmp_path / "a.safetensors")
    loaded = Rectifier.load(tmp_path / "a.safetensors")
    assert torch.equal(loaded(z), frozen(z))
    assert torch.equal(loaded.positional_logits(GRID), frozen.positional_logits(GRID))
    loaded.save(tmp_path / "b.safetensors")
    saved = [(tmp_path / f"{name}.safetensors").read_bytes() for name in "ab"]
    assert saved[0] == saved[1]
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        (key,) = file.metadata()
        assert json.loads(file.metadata()[key])["format"] == "reclip-rectifier-plus-1"

    before = frozen(z)
    for parameter in model.parameters():
        parameter.data += 1
    assert torch.equal(frozen(z), before)  # a copy


def test_files_of_reclip_are_as_they_were(z, tmp_path) -> None:
    """The bytes that the format's first version wrote, and it can be loaded."""
    generator = torch.Generator().manual_seed(0)
    net = PositionalNet(4, CLASSES, (3, 2))
    w_query, w_reference = torch.randn(2, CLASSES, DIM, generator=generator)
    embedding = torch.randn(10, 4, generator=generator)
    tensors = {"w_query": w_query, "w_reference": w_reference, "positional_embedding": embedding}
    tensors |= {f"positional.{name}": t.detach() for name, t in net.state_dict().items()}
    said = (
        '{"combine": "subtract", "format": "reclip-rectifier-1", "native_grid": [3, 3], '
        '"positional": {"channels": 3, "final_relu": true, "hidden": [3, 2], "in_width": 4}}'
    )
    save_file(tensors, tmp_path / "old.safetensors", metadata={"reclip": said})
    loaded = Rectifier.load(tmp_path / "old.safetensors")
    loaded.save(tmp_path / "new.safetensors")
    Rectifier(w_query, w_reference, net, embedding, (3, 3)).save(tmp_path / "made.safetensors")
    old, new, made = ((tmp_path / f"{n}.safetensors").read_bytes() for n in ("old", "new", "made"))
    assert old == new == made
    assert loaded(z.float()).shape == (2, *GRID, CLASSES)


@pytest.mark.parametrize("head", ["query", "classifier"])
def test_a_student_takes_the_query_or_a_head_of_its_own(head: str, z) -> None:
    teacher = learner(dtype=torch.float32).freeze()
    settings = DistillSettings(head=head, backbone="test_resnet", pretrained=False)
    student = build_student(teacher, 4, settings)
    logits, _ = student.eval()(torch.zeros(1, 3, 64, 64))
    assert logits.shape == (1, CLASSES, 8, 8)
    assert head == "classifier" or torch.equal(student.head.weight, teacher.w_query)


def test_advice_names_no_setting_that_the_model_has_not() -> None:
    large = Health(
        steps=756, loss_start=1.8, loss_end=1.7, loss_error=0.04, positional=3.4,
        positional_spread=0.6, largest="sky", share=0.2, query_share=0.5, supposed=0.1,
    )  # fmt: skip
    (warning,) = notes("rectify x", large, settings_of())["warnings"]
    assert "positional_init" not in warning and "Lower rectify.lr" in warning


@pytest.mark.parametrize("part", ["reference", "positional"])
def test_a_model_without_a_part_of_its_bias_is_refused(tiny_plan, part: str) -> None:
    changes = {"rectify": {"model": "reclip++", part: False}, "distill": {"head": "query"}}
    with pytest.raises(ReclipError) as caught:
        tiny_plan(changes)
    assert str(caught.value) == (
        f"params: 'runs.ref-pe.rectify.{part}' is false, but the bias of ReCLIP++ is made of "
        f"Reference and position: remove it, or set rectify.model to reclip"
    )


@pytest.mark.parametrize("head", ["query_reference", "query_reference_positional"])
def test_a_student_that_would_inherit_the_reference_is_refused(tiny_plan, head: str) -> None:
    changes = {"rectify": {"model": "reclip++"}, "distill": {"head": head}}
    with pytest.raises(ReclipError, match="set the head to 'query' or 'classifier'"):
        tiny_plan(changes)
    tiny_plan({"rectify": {"model": "reclip++"}, "distill": {"head": "classifier"}})
