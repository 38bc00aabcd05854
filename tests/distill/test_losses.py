from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reclip.config.models import DistillSettings
from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
from reclip.distill.losses import distillation_loss, feature_loss, mask_loss, text_loss
from reclip.training.share import Share, draw

CLASSES, DIM, BATCH, SIZE = 5, 16, 2, 40
SETTINGS = DistillSettings(gumbel_scale=1000.0, gumbel_tau=1.0, tau=0.01)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unit(*shape: int, seed: int = 0, dim: int = 1) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=rng(seed)), dim=dim)


W_Q = unit(CLASSES, DIM, seed=1)
HYPOTHESES = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 1, 1, 0]], dtype=torch.bool)
LABELS = torch.randint(0, CLASSES, (BATCH, SIZE, SIZE), generator=rng(2))
TEACHER = unit(BATCH, DIM, 4, 4, seed=3)


@pytest.fixture
def student() -> Student:
    torch.manual_seed(0)
    backbone = {
        "layers": [1, 1, 1, 1],
        "channels": [8, 8, 16, 16],
        "stem_type": "deep",
        "stem_width": 8,
    }
    head = SegmentationHead(
        "query_reference", CLASSES, DIM, w_q=W_Q, w_r=0.1 * unit(CLASSES, DIM, seed=4)
    )
    return Student(DeepLabV2("resnet18", DIM, backbone_args=backbone), head).train()


def share_of(logits: Tensor, seed: int) -> Share:
    """Return the whole batch of logits (B, C, h, w) as a share, with noise."""
    images, classes, *grid = logits.shape
    return Share(images, noise=draw(images, (math.prod(grid), classes), rng(seed)))


def images() -> Tensor:
    return torch.randn(BATCH, 3, SIZE, SIZE, generator=rng(5))


@pytest.mark.parametrize("term", ["mask", "feature", "text"])
def test_each_term_alone_trains_the_backbone(student: Student, term: str) -> None:
    logits, feature = student(images())
    losses = distillation_loss(
        logits,
        feature,
        LABELS,
        TEACHER,
        W_Q,
        HYPOTHESES,
        SETTINGS,
        logit_scale=student.head.logit_scale,
        share=share_of(logits, 6),
    )
    losses[term].backward()
    deeplab = student.deeplab
    stem, stage = deeplab.backbone.conv1[0].weight, deeplab.backbone.layer4[0].bn2.weight
    for parameter in (stem, stage, *(branch[0].weight for branch in deeplab.branches)):
        assert parameter.grad.abs().max() > 0


def test_text_loss_also_trains_through_the_masks(student: Student) -> None:
    logits, feature = student(images())
    loss = text_loss(feature.detach(), logits, W_Q, HYPOTHESES, SETTINGS, share=share_of(logits, 6))
    loss.backward()
    assert student.deeplab.backbone.conv1[0].weight.grad.abs().max() > 0


def test_mask_loss_is_eq_6() -> None:
    logits = torch.randn(BATCH, CLASSES, 5, 5, generator=rng(7))
    up = F.interpolate(logits, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    probability = up.softmax(dim=1).gather(1, LABELS[:, None])
    torch.testing.assert_close(mask_loss(logits, LABELS), -probability.log().mean())


def test_mask_loss_averages_over_labelled_pixels_only() -> None:
    logits = torch.randn(1, CLASSES, SIZE, SIZE, generator=rng(8))
    labels = LABELS[:1].clone()
    labels[:, :, SIZE // 2 :] = 255
    expected = mask_loss(logits[..., : SIZE // 2], labels[..., : SIZE // 2])
    torch.testing.assert_close(mask_loss(logits, labels), expected)
    nothing = mask_loss(logits, torch.full_like(labels, 255))
    assert nothing == 0


def test_feature_loss_is_the_mean_l1_distance() -> None:
    student = unit(BATCH, DIM, 5, 5, seed=9)
    for size in (None, (SIZE, SIZE)):
        target = (5, 5) if size is None else size
        distance = F.interpolate(student, target, mode="bilinear") - F.interpolate(
            TEACHER, target, mode="bilinear"
        )
        torch.testing.assert_close(feature_loss(student, TEACHER, size), distance.abs().mean())
    assert feature_loss(TEACHER, TEACHER, (SIZE, SIZE)) == 0


def test_feature_loss_leaves_invalid_cells_out() -> None:
    student = TEACHER.clone()
    student[..., 2:] += 1.0
    valid = torch.ones(BATCH, SIZE, SIZE, dtype=torch.bool)
    valid[..., SIZE // 2 :] = False
    assert feature_loss(student, TEACHER, valid=valid) == 0
    torch.testing.assert_close(
        feature_loss(student, TEACHER, valid=~valid), torch.tensor(1.0), atol=1e-6, rtol=0
    )


def test_text_loss_is_low_for_right_masks_and_features() -> None:
    """Two halves of two classes, with features on their query embeddings."""
    feature = torch.empty(1, DIM, 4, 4)
    feature[..., :2], feature[..., 2:] = W_Q[0, :, None, None], W_Q[1, :, None, None]
    right = torch.einsum("bdhw,cd->bchw", feature, W_Q)
    swapped = right[:, [1, 0, 2, 3, 4]]
    hypotheses = HYPOTHESES[:1]
    good, bad = (
        text_loss(feature, m, W_Q, hypotheses, SETTINGS, share=share_of(m, 10))
        for m in (right, swapped)
    )
    assert good < 0.01
    assert bad > 1.0


def test_text_loss_ignores_cells_outside_the_photo() -> None:
    feature = unit(BATCH, DIM, 4, 4, seed=11)
    logits = torch.einsum("bdhw,cd->bchw", feature, W_Q)
    valid = torch.ones(BATCH, SIZE, SIZE, dtype=torch.bool)
    valid[:, SIZE // 2 :] = False
    changed = feature.clone()
    changed[:, :, 2:] = unit(BATCH, DIM, 2, 4, seed=12)
    first, second = (
        text_loss(f, logits, W_Q, HYPOTHESES, SETTINGS, valid, share_of(logits, 13))
        for f in (feature, changed)
    )
    torch.testing.assert_close(first, second)


def test_the_terms_are_those_of_eq_8() -> None:
    feature = unit(BATCH, DIM, 5, 5, seed=14)
    logits = torch.einsum("bdhw,cd->bchw", feature, W_Q)
    labels = LABELS.clone()
    labels[:, :, 24:] = 255
    valid = labels != 255

    def losses(logit_scale: float = 20.0, **changes: object) -> dict[str, Tensor]:
        settings = SETTINGS.model_copy(update=changes)
        return distillation_loss(
            logits, feature, labels, TEACHER, W_Q, HYPOTHESES, settings,
            logit_scale=logit_scale, share=share_of(logits, 15),
        )  # fmt: skip

    full = losses(alpha=0.5, beta=0.25)
    text = text_loss(feature, logits, W_Q, HYPOTHESES, SETTINGS, valid, share_of(logits, 15))
    wanted = {
        "mask": mask_loss(20.0 * logits, labels),
        "feature": 0.5 * feature_loss(feature, TEACHER, (SIZE, SIZE), valid),
        "text": 0.25 * text,
    }
    assert list(full) == list(wanted)
    for term, value in wanted.items():
        torch.testing.assert_close(full[term], value)
    torch.testing.assert_close(losses(logit_scale=1.0, beta=0.25)["text"], full["text"])
    grid = losses(feature_resolution="grid")
    torch.testing.assert_close(grid["feature"], 0.5 * feature_loss(feature, TEACHER, None, valid))
    assert grid["feature"] != full["feature"]
    assert list(losses(alpha=0.0, beta=0.0)) == ["mask"]


@pytest.mark.parametrize("resolution", ["image", "grid"])
def test_a_teacher_whose_patches_reach_over_the_edge_is_compared_in_place(resolution: str) -> None:
    """40 pixels are three patches of 14 and five cells of the student's."""
    patch, cells = 14, 3
    over = (torch.arange(cells) + 0.5) * patch  # a feature that says where it is
    teacher = over.expand(1, 2, cells, cells)
    own = ((torch.arange(5) + 0.5) * 8).clamp(float(over[0]), float(over[-1]))
    settings = SETTINGS.model_copy(update={"feature_resolution": resolution, "beta": 0})
    logits, labels = torch.zeros(1, CLASSES, 5, 5), LABELS[:1]

    def loss(patch: int | None) -> float:
        terms = distillation_loss(
            logits, own.expand(1, 2, 5, 5), labels, teacher, W_Q, HYPOTHESES[:1], settings, 1.0,
            patch=patch,
        )  # fmt: skip
        return float(terms["feature"])

    assert loss(patch) < 0.2 < 0.3 < loss(None)
    if resolution == "grid":
        assert loss(patch) < 1e-5
