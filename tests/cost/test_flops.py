"""The formulas of `reclip.cost` against published-size figures and PyTorch's own counter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from reclip.clip.dense import dense_features
from reclip.clip.shape import ClipShape, Tower, clip_shape
from reclip.clip.text import ReferenceEncoder
from reclip.common.errors import ReclipError
from reclip.config.load import validate
from reclip.config.models import Params
from reclip.cost import flops
from reclip.cost.census import PUBLISHED, WORLD_SLOTS
from reclip.cost.data_work import PROMPT_TOKENS, TEMPLATES
from reclip.cost.known import Known
from reclip.cost.student import student_shape
from reclip.data.world.scenes import WORLDS
from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
from reclip.distill.losses import distillation_loss
from reclip.pipeline.plan import Plan
from reclip.rectify.loss import contrastive_loss, gumbel_masks, masked_pool
from reclip.rectify.model import BiasModel, PositionalNet, Rectifier
from support.tiny_clip import TINY, tiny_clip

VIT = clip_shape("ViT-B-16")
GIGA = 1e9
TINY_SHAPE = ClipShape(
    image=Tower(32, 2, 128, 2), text=Tower(16, 2, 64, 2), patch=8, image_size=32, context=16, dim=12
)
CLASSES = [["red cat"], ["dog"], ["sky", "heaven"]]


def counted(run) -> float:
    """FLOPs of `run` as PyTorch counts them, attention as its matrix products."""
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):
        run()
    return counter.get_total_flops()


# Figures for ViT-B/16 and the students, in GFLOP.


@pytest.mark.parametrize(
    ("height", "width", "gflop"),
    [
        (224, 224, 34.7),
        (336, 336, 81.5),
        (480, 480, 180.1),
        (512, 512, 209.2),
        (336, 448, 111.5),
        (448, 597, 218.8),
        (512, 683, 297.4),
    ],
)
def test_image_tower(height: int, width: int, gflop: float) -> None:
    cells = math.prod(flops.grid(height, width, 16))
    assert flops.dense_features(VIT, cells, mlp=True) / GIGA == pytest.approx(gflop, rel=0.005)


@pytest.mark.parametrize(
    ("classes", "crop", "text", "positional"),
    [(20, 336, 20.7, 9.5), (59, 480, 38.8, 19.8), (150, 512, 81.1, 23.9)],
)
def test_a_step_of_rectification(classes: int, crop: int, text: float, positional: float) -> None:
    assert flops.reference(VIT, classes, 73, 3) / GIGA == pytest.approx(text, rel=0.02)
    net = flops.positional_net(768, (512, 256), classes, (crop // 16) ** 2, train=True)
    assert net / GIGA == pytest.approx(positional, rel=0.01)


@pytest.mark.parametrize(("crop", "gflop"), [(512, 1742 - 209.2), (480, 1528 - 180.1)])
def test_a_student_image(crop: int, gflop: float) -> None:
    student = student_shape("resnet50c", {}, 512, crop)
    assert student.train / GIGA == pytest.approx(gflop, rel=0.005)
    assert 3 * student.forward == pytest.approx(student.train, rel=0.001)


def plan_of(dataset: str, crop: int, epochs: int) -> Plan:
    settings = {
        "experiment": "x",
        "clip": {"model": "ViT-B-16", "checkpoint": "not-here.pt"},
        "views": {"crop": crop, "count": 1},
        "rectify": {"epochs": epochs, "batch": 1},
        "datasets": {dataset: {"source": {"kind": dataset}}},
        "runs": {"r": {"dataset": dataset, "method": "rectify"}},
    }
    return Plan(validate(Params, settings))


@pytest.mark.parametrize(
    ("dataset", "crop", "epochs", "steps", "gigabytes"),
    [
        ("voc", 336, 200, 292_800, 0.66),
        ("context", 480, 150, 749_400, 4.6),
        ("ade", 512, 150, 3_031_500, 21.2),
    ],
)
def test_steps_and_bytes_of_a_view(dataset, crop, epochs, steps, gigabytes) -> None:
    known = Known(plan_of(dataset, crop, epochs))
    assert known.steps(dataset, known.plan.experiment.rectify("r")) == (steps, steps)
    size = known.census[dataset].photos("train") * known.view_cells(dataset) * known.token
    assert size / 1e9 == pytest.approx(gigabytes, rel=0.01)


def test_texts_are_as_long_as_the_constants_say() -> None:
    from reclip.clip.prompts import templates

    assert {name: len(templates(name)) for name in TEMPLATES} == TEMPLATES
    tokenizer = SimpleTokenizer()
    for known in PUBLISHED.values():
        assert known.slots == 1 + max(len(tokenizer.encode(c[0])) for c in known.classes)
        texts = [t.format(n) for c in known.classes for n in c for t in templates("reclip")]
        mean = np.mean([2 + len(tokenizer.encode(text)) for text in texts])
        assert mean == pytest.approx(PROMPT_TOKENS, rel=0.05)
    for world in WORLDS.values():
        assert 1 + max(len(tokenizer.encode(n)) for n in world.class_names) == WORLD_SLOTS


# Against the counter, on the real modules.


@pytest.mark.parametrize("mlp", [True, False])
@pytest.mark.parametrize("with_global", [True, False])
def test_dense_features(mlp: bool, with_global: bool) -> None:
    clip = tiny_clip()
    images = torch.randn(1, 3, 24, 40, requires_grad=True)  # a gradient: no fused fast path
    found = counted(lambda: dense_features(clip, images, mlp=mlp, with_global=with_global))
    assert found == flops.dense_features(TINY_SHAPE, 15, mlp, with_global)


def test_image_embedding() -> None:
    clip = tiny_clip()
    images = torch.randn(1, 3, 32, 32, requires_grad=True)
    assert counted(lambda: clip.model.encode_image(images)) == flops.image_embedding(TINY_SHAPE)


def test_text_embedding() -> None:
    model = tiny_clip().model
    texts = torch.ones(1, TINY["text_cfg"]["context_length"], dtype=torch.long)
    model.positional_embedding.requires_grad_()
    found = counted(lambda: model.encode_text(texts))
    assert found == flops.text_embedding(TINY_SHAPE, texts.shape[1])


def test_reference_there_and_back() -> None:
    encoder = ReferenceEncoder(tiny_clip(), CLASSES, length=7)
    classes, slots, _ = encoder.suffix.shape
    found = counted(lambda: encoder().sum().backward())
    # The end tokens' rows are scattered back, which is no product; nothing else is left out.
    assert found == flops.reference(TINY_SHAPE, classes, 7, slots)


@pytest.mark.parametrize("train", [True, False])
def test_positional_net(train: bool) -> None:
    net = PositionalNet(32, 3, (8, 4))
    x = torch.randn(1, 32, 4, 5)
    found = counted(lambda: net(x).sum().backward() if train else net(x).detach())
    assert found == flops.positional_net(32, (8, 4), 3, 20, train)


def test_a_whole_step_of_rectification() -> None:
    clip = tiny_clip()
    model = BiasModel(
        torch.nn.functional.normalize(torch.randn(3, 12), dim=-1),
        clip.positional_embedding,
        clip.grid,
        reference=ReferenceEncoder(clip, CLASSES, length=7),
        positional=PositionalNet(32, 3, (8, 4)),
    )
    slots = model.reference.suffix.shape[1]
    z = torch.nn.functional.normalize(torch.randn(2, 4, 5, 12), dim=-1)

    def step() -> None:
        masks = gumbel_masks(model(z).flatten(1, 2))
        pooled = masked_pool(masks, z.flatten(1, 2))
        contrastive_loss(pooled, model.w_query, torch.ones(2, 3, dtype=torch.bool)).backward()

    expected = flops.reference(TINY_SHAPE, 3, 7, slots)
    expected += flops.positional_net(32, (8, 4), 3, 20, train=True)
    expected += 2 * (2 * flops.linear(20, 12, 3) + flops.contrast(12, 3, 20))
    assert counted(step) == expected


BACKBONE = {
    "layers": [1, 1, 1, 1],
    "channels": [8, 8, 16, 16],
    "stem_type": "deep",
    "stem_width": 8,
}


@pytest.mark.parametrize(
    ("head", "beta", "detach"),
    [
        ("query", 0.5, False),
        ("query", 0.0, False),
        ("query", 0.5, True),
        ("classifier", 0.5, False),
    ],
)
def test_a_whole_step_of_distillation(head: str, beta: float, detach: bool) -> None:
    w_q = torch.nn.functional.normalize(torch.randn(3, 12), dim=-1)
    student = Student(
        DeepLabV2("resnet18", 12, backbone_args=BACKBONE), SegmentationHead(head, 3, 12, w_q=w_q)
    )
    images, labels = torch.randn(2, 3, 64, 64), torch.zeros(2, 64, 64, dtype=torch.uint8)

    def step() -> None:
        logits, feature = student(images)
        distillation_loss(
            logits,
            feature,
            labels,
            torch.randn(2, 12, 4, 4),
            w_q,
            torch.ones(2, 3, dtype=torch.bool),
            logit_scale=1.0,
            beta=beta,
            detach=detach,
            gumbel_scale=1.0,
            gumbel_tau=1.0,
            tau=0.01,
        ).total.backward()

    shape = student_shape("resnet18", BACKBONE, 12, 64)
    heads = (3 if head == "classifier" else 2) * flops.linear(shape.cells, 12, 3)
    text = flops.contrast(12, 3, shape.cells, backward=not detach, feature_learns=True)
    assert counted(step) == 2 * (shape.train + heads + (text if beta else 0))


def test_prediction_by_a_rectifier() -> None:
    clip = tiny_clip()
    net = PositionalNet(32, 3, (8, 4))
    model = Rectifier(torch.randn(3, 12), None, net, clip.positional_embedding, clip.grid)
    found = counted(lambda: model.logits(torch.randn(1, 4, 5, 12)))
    expected = flops.linear(20, 12, 3) + flops.positional_net(32, (8, 4), 3, 20, train=False)
    assert found == expected


# The cards.


def test_dimensions_are_those_of_the_models() -> None:
    from open_clip.factory import get_model_config

    assert clip_shape("ViT-L-14").image == Tower(1024, 24, 4096, 16)
    assert clip_shape("ViT-L-14").text.width == get_model_config("ViT-L-14")["text_cfg"]["width"]
    assert clip_shape("ViT-H-14").image.heads == 16  # its card says 80 for the width of a head
    assert ClipShape(Tower(768, 12, 3072, 12), Tower(512, 12, 2048, 8), 16, 224, 77, 512) == VIT
    assert clip_shape("mini-clip").dim == 64


@pytest.mark.parametrize(
    ("name", "words"), [("ViT-B-17", "no CLIP model"), ("RN50", "differ from CLIP's ViT")]
)
def test_other_models_are_refused(name: str, words: str) -> None:
    with pytest.raises(ReclipError, match=words):
        clip_shape(name)
