"""The counts of `reclip.cost.flops` against hand formulas and published numbers.

`linear`, `attention` and `block` below are the operations of a transformer, counted by hand.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import nn

from reclip.common.errors import ReclipError
from reclip.config.load import validate
from reclip.config.models import DistillSettings, RectifySettings
from reclip.config.params import Params
from reclip.cost import flops, meta
from reclip.cost.census import PUBLISHED, take_census
from reclip.cost.facts import Facts, cells
from reclip.cost.machines import Work
from reclip.cost.stage_work import PROMPT_TOKENS
from reclip.distill.deeplab import DeepLabV2
from reclip.pipeline.plan import Plan
from support.tiny_clip import TINY, in_registry

VIT = "ViT-B-16"
GIGA = 1e9

# The tiny CLIP's dimensions: width, layers, MLP's width; patch and joint space.
IMAGE, TEXT, PATCH, DIM = (32, 2, 128), (16, 2, 64), 8, 12


def linear(rows: int, inputs: int, outputs: int) -> int:
    return 2 * rows * inputs * outputs


def attention(queries: int, keys: int, width: int) -> int:
    """Scores of all heads together, and their weighted sums."""
    return 4 * queries * keys * width


def own(tokens: int, width: int, hidden: int) -> int:
    """A block's work on each token alone: four projections and the MLP."""
    return linear(tokens, width, 4 * width) + 2 * linear(tokens, width, hidden)


def block(tokens: int, width: int, hidden: int) -> int:
    return own(tokens, width, hidden) + attention(tokens, tokens, width)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name under which open_clip builds the tiny CLIP."""
    assert (TINY["embed_dim"], TINY["vision_cfg"]["patch_size"]) == (DIM, PATCH)
    with in_registry(tmp_path_factory.mktemp("registry")):
        yield "tiny-ViT"


# Published numbers, and hand counts for ViT-B/16 and the students, in GFLOP.


def test_vit_b_16_has_its_published_flops() -> None:
    """17.5 G multiply-adds at 224 × 224 (Dosovitskiy et al.; timm and torchvision say 17.6)."""
    assert flops.image_embedding(VIT).flops / 2 / GIGA == pytest.approx(17.56, rel=0.005)


def test_resnet_50_has_its_published_flops() -> None:
    """4.09 G multiply-adds at 224 × 224 (He et al., torchvision)."""
    import timm

    with torch.device("meta"):
        net, image = timm.create_model("resnet50").eval(), torch.empty(1, 3, 224, 224)
    found = flops.count(lambda: net(image))
    assert found.flops / 2 / GIGA == pytest.approx(4.09, rel=0.005)
    assert found.matmul == linear(1, 2048, 1000)


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
    found = flops.dense(VIT, cells((height, width), 16), mlp=True)
    assert found.flops / GIGA == pytest.approx(gflop, rel=0.005)


@pytest.mark.parametrize(
    ("classes", "crop", "text", "positional"),
    [(20, 336, 19.9, 9.5), (59, 480, 37.5, 19.8), (150, 512, 78.5, 23.9)],
)
def test_a_step_of_rectification(classes: int, crop: int, text: float, positional: float) -> None:
    step = flops.reference(VIT, classes, 3, length=73).train
    assert step.flops / GIGA == pytest.approx(text, rel=0.005)
    cell = flops.rectifier(VIT, classes, RectifySettings()).train
    assert (crop // 16) ** 2 * cell.flops / GIGA == pytest.approx(positional, rel=0.01)


@pytest.mark.parametrize(("crop", "gflop"), [(512, 1742 - 209.2), (480, 1528 - 180.1)])
def test_a_student_image(crop: int, gflop: float) -> None:
    student = flops.student("resnet50c", "{}", 512, crop)
    assert student.train.flops / GIGA == pytest.approx(gflop, rel=0.005)
    assert 3 * student.forward.flops == pytest.approx(student.train.flops, rel=0.001)
    with torch.device("meta"):
        net, image = DeepLabV2("resnet50c", 512), torch.empty(1, 3, crop, crop)
    assert student.train == flops.train(lambda: net(image))


def plan_of(dataset: str, crop: int, epochs: int) -> Plan:
    settings = {
        "experiment": "x",
        "clip": {"model": VIT, "checkpoint": "not-here.pt"},
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
    facts = Facts(plan_of(dataset, crop, epochs))
    assert facts.steps(dataset, facts.experiment.rectify("r")) == (steps, steps)
    size = facts.census[dataset].photos("train") * facts.view_cells(dataset) * facts.token
    assert size / 1e9 == pytest.approx(gigabytes, rel=0.01)
    assert facts.slots == {dataset: 4 if dataset == "ade" else 3}


@pytest.mark.parametrize(
    ("kind", "train", "val", "size", "classes", "gigabytes"),
    [
        ("cityscapes", 2975, 500, (1024, 2048), 19, 23.2),
        ("coco-stuff-27", 118_287, 5000, (480, 640), 27, 40.3),
        ("coco-stuff-171", 118_287, 5000, (480, 640), 171, 40.3),
    ],
)
def test_the_census_of_other_benchmarks(kind, train, val, size, classes, gigabytes) -> None:
    found = take_census(plan_of(kind, 448, 50), kind)
    assert found.sizes == {"train": {size: train}, "val": {size: val}}
    assert len(found.classes) == classes
    assert found.fetched / 1e9 == pytest.approx(gigabytes, rel=0.01)


def test_the_mean_prompt_has_its_constant_length() -> None:
    from reclip.clip.prompts import templates

    tokenizer = SimpleTokenizer()
    for known in PUBLISHED.values():
        texts = [t.format(n) for c in known.classes for n in c for t in templates("reclip")]
        mean = np.mean([2 + len(tokenizer.encode(text)) for text in texts])
        assert mean == pytest.approx(PROMPT_TOKENS, rel=0.05)
    assert len(tokenizer.encode(meta.WORD)) == 1


# Hand formulas for small networks.


def test_products_and_convolutions_are_counted_apart() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(2), nn.Linear(30, 7))
        image = torch.empty(2, 3, 5, 6)
    assert flops.count(lambda: net(image)) == Work(
        matmul=linear(2 * 4, 30, 7), conv=linear(2 * 30, 9 * 3, 4)
    )
    forward = flops.count(lambda: net(image))
    # The image has no gradient: its convolution is one product less.
    both = Work(matmul=3 * forward.matmul, conv=2 * forward.conv)
    assert flops.train(lambda: net(image)) == both
    assert flops.count(lambda: image + 1) == Work()


def test_counting_restores_the_fused_attention() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(ZeroDivisionError):
        flops.count(lambda: 1 / 0)
    assert torch.backends.mha.get_fastpath_enabled() == before


@pytest.mark.parametrize("mlp", [True, False])
@pytest.mark.parametrize("with_global", [True, False])
@pytest.mark.parametrize("number", [1, 2, 15, 400])
def test_dense_features(tiny: str, number: int, mlp: bool, with_global: bool) -> None:
    width, layers, hidden = IMAGE
    tokens = number + 1
    expected = linear(number, 3 * PATCH**2, width)
    expected += (layers - 1) * block(tokens, width, hidden)
    expected += 2 * linear(number, width, width)  # value and output projection
    expected += 2 * linear(number, width, hidden) if mlp else 0
    expected += linear(number, width, DIM)
    if with_global:
        expected += linear(tokens, width, 2 * width) + attention(1, tokens, width)
        expected += 2 * linear(1, width, width) + 2 * linear(1, width, hidden)
        expected += linear(1, width, DIM)
    assert flops.dense(tiny, number, mlp, with_global).flops == expected


@pytest.mark.parametrize("products", [{"kk": 1, "clearclip": 1, "naclip": 1, "sclip": 2}])
def test_dense_features_of_an_extractor(tiny: str, products: dict[str, int]) -> None:
    """More than the value path: queries, keys, the class token's value, products of tokens."""
    width, number = IMAGE[0], 15
    value = flops.dense(tiny, number, mlp=False).flops
    for name, pairs in products.items():
        more = linear(number + 1, width, 3 * width) - linear(number, width, width)
        more += (pairs + 1) * 2 * number * (number + 1) * width
        assert flops.dense(tiny, number, mlp=False, attention=name).flops - value == more


def test_image_embedding(tiny: str) -> None:
    width, layers, hidden = IMAGE
    expected = linear(16, 3 * PATCH**2, width) + layers * block(17, width, hidden)
    assert flops.image_embedding(tiny).flops == expected + linear(1, width, DIM)


def test_text_embedding(tiny: str) -> None:
    width, layers, hidden = TEXT
    expected = layers * block(9, width, hidden) + linear(1, width, DIM)
    assert flops.text_embedding(tiny, 9) == Work(matmul=expected)


@pytest.mark.parametrize(
    ("settings", "length", "slots"),
    [
        ({"length": 7}, 7, 4),
        ({"length": 73}, 11, 4),  # no room in a context of 16 tokens
        ({"length": 7, "class_slots": "official"}, 7, 3),
        ({"words": "a photo of a"}, 4, 4),
    ],
)
def test_reference(tiny: str, settings: dict, length: int, slots: int) -> None:
    """The tower is frozen but its input learns.

    Backward is one product for each frozen matrix, and two for each product of attention.
    """
    (width, layers, hidden), classes = TEXT, 5
    shared, each = 1 + length, classes * slots
    frozen = (layers - 1) * own(shared + each, width, hidden) + linear(classes, width, DIM)
    pairs = attention(shared, shared, width) + attention(each, shared + slots, width)
    # Of the last block one token a class is read.
    frozen += linear(shared + each, width, 3 * width)
    frozen += linear(classes, width, width) + 2 * linear(classes, width, hidden)
    pairs = (layers - 1) * pairs + attention(classes, shared + slots, width)
    forward, train, _ = flops.reference(tiny, classes, 4, **settings)
    assert forward == Work(matmul=frozen + pairs)
    assert train == Work(matmul=2 * frozen + 3 * pairs)


def test_names_estimated_longer_than_the_context_leave_one_token_to_the_prompt(tiny: str) -> None:
    assert flops.reference(tiny, 5, 99) == flops.reference(tiny, 5, 14)


@pytest.mark.parametrize("channels", ["class", "one"])
def test_rectifier(tiny: str, channels: str) -> None:
    settings = RectifySettings(positional_hidden=(8, 4), positional_channels=channels)
    widths = (IMAGE[0], 8, 4, 3 if channels == "class" else 1)
    layers = [linear(1, 9 * a, b) for a, b in itertools.pairwise(widths)]
    found = flops.rectifier(tiny, 3, settings)
    assert found.forward == Work(matmul=linear(1, DIM, 3), conv=sum(layers))
    # Backward is a product for the weights and one for the input, which the first layer has not.
    assert found.train == Work(conv=3 * sum(layers) - layers[0])
    numbers = 2 * 3 * DIM + 17 * IMAGE[0]  # both texts, positional embedding
    numbers += sum(9 * a * b + 5 * b for a, b in itertools.pairwise(widths))
    assert found.size == 4 * numbers + 3 * 8  # and each normalisation's counter


def test_a_rectifier_of_reclip_plus_plus(tiny: str) -> None:
    classes, width = 3, IMAGE[0]
    places, bias = linear(1, width, DIM), linear(1, DIM, classes)
    decoder = linear(1, 25 * (DIM + classes), classes)
    found = flops.rectifier(tiny, classes, RectifySettings(model="reclip++"))
    assert found.forward == Work(matmul=bias + linear(1, DIM, classes), conv=places + decoder)
    # The positional embedding has no gradient; both factors of the bias have one.
    assert found.train == Work(matmul=3 * bias, conv=2 * places)
    numbers = 2 * classes * DIM + 17 * width  # both texts, positional embedding
    numbers += (width + 1) * DIM + (25 * (DIM + classes) + 1) * classes + 4 * classes
    assert found.size == 4 * numbers + 8  # and the normalisation's counter


@pytest.mark.parametrize(("classes", "learned"), [(20, 266_020), (59, 842_284), (150, 2_482_650)])
def test_reclip_plus_plus_has_its_published_numbers_of_weights(classes: int, learned: int) -> None:
    model = meta.rectifier(VIT, classes, RectifySettings(model="reclip++"))
    assert sum(p.numel() for p in model.positional.parameters()) == 393_728
    assert sum(p.numel() for p in model.decoder.conv.parameters()) == learned
    assert sum(p.numel() for p in model.decoder.norm.parameters()) == 2 * classes


def test_a_query_is_one_product(tiny: str) -> None:
    found = flops.rectifier(tiny, 3, None)
    assert found == (Work(matmul=linear(1, DIM, 3)), Work(), 4 * 3 * DIM)


@pytest.mark.parametrize("decoded", [True, False])
@pytest.mark.parametrize("head_learns", [True, False])
def test_an_image_of_rectification(head_learns: bool, decoded: bool) -> None:
    """Logits; masked pooling, whose masks have a gradient; comparison with the texts (Eq. 5).

    The decoder's products are of forward, its weights and its input.
    """
    product, compare = linear(20, DIM, 3), linear(3, DIM, 3)
    expected = (2 if head_learns else 1) * product + 2 * product + 2 * compare
    conv = 3 * linear(20, 25 * (DIM + 3), 3) * decoded
    found = flops.rectify_image(DIM, 3, 20, head_learns, decoded)
    assert found == Work(matmul=expected, conv=conv)


@pytest.mark.parametrize(
    ("settings", "heads", "pools", "compares"),
    [
        ({"head": "query"}, 2, 3, 2),
        ({"head": "query", "beta": 0.0}, 2, 0, 0),
        ({"head": "query_reference", "detach_feature": True}, 2, 1, 1),
        ({"head": "query_reference_positional"}, 2, 3, 2),
        ({"head": "classifier"}, 3, 3, 2),
    ],
)
def test_an_image_of_distillation(settings: dict, heads: int, pools: int, compares: int) -> None:
    """A fixed head has one product backward, a classifier two; so has the pooling of features."""
    product, compare = linear(64, DIM, 3), linear(3, DIM, 3)
    found = flops.distill_image(DistillSettings(**settings), DIM, 3, 64)
    assert found == Work(conv=heads * product, matmul=pools * product + compares * compare)


def test_a_small_student() -> None:
    """A ResNet with one basic block a stage, all at stride 8 from the third on."""
    arguments = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
    arguments |= {"stem_type": "deep", "stem_width": 8}
    found = flops.student("resnet18", json.dumps(arguments), DIM, 64)

    def conv(side: int, inputs: int, outputs: int, kernel: int = 3) -> int:
        return linear(side**2, kernel**2 * inputs, outputs)

    first = conv(32, 3, 8)
    forward = first + conv(32, 8, 8) + conv(32, 8, 16)  # the stem
    forward += conv(16, 16, 8) + conv(16, 8, 8) + conv(16, 16, 8, 1)
    forward += conv(8, 8, 8) + conv(8, 8, 8) + conv(8, 8, 8, 1)
    forward += conv(8, 8, 16) + conv(8, 16, 16) + conv(8, 8, 16, 1)
    forward += conv(8, 16, 16) + conv(8, 16, 16)
    # Of the pyramid's rates 6, 12, 18 and 24 only the first reaches into a map of 8 × 8.
    forward += conv(8, 16, DIM) + 3 * conv(8, 16, DIM, 1)
    assert found.forward == Work(conv=forward)
    assert found.train == Work(conv=3 * forward - first)


@pytest.mark.parametrize(
    ("name", "words"),
    [("ViT-B-17", "no CLIP model"), ("RN50", "not a plain CLIP|differ from CLIP")],
)
def test_other_models_are_refused(name: str, words: str) -> None:
    with pytest.raises(ReclipError, match=words):
        meta.clip(name)
