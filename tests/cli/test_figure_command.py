"""`reclip figure`: single figures of finished runs, their captions, and the errors."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image

from reclip.cli.main import cli
from reclip.common.errors import ReclipError
from reclip.common.files import write_json
from reclip.common.tables import write_table
from reclip.config.models import ImageSettings
from reclip.data.index import Item, write_dataset
from reclip.data.reading import Frame, Piece, Window
from reclip.distill.deeplab import SegmentationHead
from reclip.evaluate.figures import heatmaps as heat_maps
from reclip.evaluate.figures import style
from reclip.evaluate.figures.by_class import most_confused
from reclip.evaluate.figures.heatmaps import Logits
from reclip.evaluate.figures.single import class_ids, confusion, distance, heatmaps
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import finish
from reclip.rectify.model import PositionalNet, Rectifier
from support.fake_cache import write_cache

NAMES = ["cat", "dog", "a class of which the name is long", "bird"]
PARAMS = "params.yaml"


def evaluate(plan: Plan, run: str) -> None:
    """Have the run evaluated: cats and birds are confused, the more so by Query."""
    job = plan.job("gather", run)
    seeds = job.settings["seeds"] or (None,)
    wrong = 60 if run == "query" else 10
    matrix = np.diag([100, 90, 80, 70])
    matrix[0, 3] = wrong
    matrices = np.stack([matrix + 2 * k for k in range(len(seeds))])
    job.folder.mkdir(parents=True, exist_ok=True)
    np.save(job.folder / "confusion.npy", matrices)
    rows = [
        (seed, f"{b / 4:.4f}", f"{(b + 1) / 4:.4f}", 5 - b, "" if b == 3 else 50.0 - b + 4 * k)
        for k, seed in enumerate(seeds)
        for b in range(4)
    ]
    write_table(job.folder / "distance.csv", ("seed", "from", "to", "objects", "miou"), rows)
    write_json(job.outputs[0], {"classes": NAMES, "seeds": [], "miou": {"mean": 1.0, "sd": None}})
    finish(job, [job.folder / "confusion.npy", job.folder / "distance.csv", job.outputs[0]])


def train(plan: Plan, run: str) -> None:
    """A dataset of one photo a split, its features, and a rectifier of the run."""
    rng = np.random.default_rng(0)
    dataset = plan.params.runs[run].dataset
    prepared, cached = (plan.job(stage, dataset) for stage in ("prepare", "cache-features"))
    prepared.folder.mkdir(parents=True, exist_ok=True)
    items = {}
    for split in ("train", "val"):
        path = prepared.folder / f"{split}.png"
        Image.fromarray(rng.integers(0, 255, (16, 24, 3), np.uint8)).save(path)
        label = prepared.folder / f"{split}-label.png"
        Image.fromarray(rng.integers(0, 4, (16, 24), np.uint8)).save(label)
        items[split] = [Item(f"{split}-photo", path, 16, 24, label)]
    facts = {"names": [[name] for name in NAMES]}
    labelled = plan.experiment.labelled(dataset)
    val = items["val"] if labelled else []
    files = write_dataset(prepared.folder, facts, items["train"], val, labelled=labelled)
    finish(prepared, [*files, *prepared.folder.glob("*.png")])
    finish(cached, write_cache(cached.folder, items, dim=5))
    w_query, w_reference = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    net = PositionalNet(3, 4, (2,))
    positional = (
        (net, torch.ones(1 + 6, 3), (2, 3)) if plan.experiment.rectify(run).positional else ()
    )
    for job in plan.trained(run):
        job.folder.mkdir(parents=True, exist_ok=True)
        Rectifier(w_query, w_reference, *positional).save(job.folder / WEIGHTS_FILE)
        finish(job, [job.folder / WEIGHTS_FILE])


@pytest.fixture
def plan(project: Path) -> Plan:
    made = Plan.load(PARAMS)
    evaluate(made, "query")
    evaluate(made, "ref-pe")
    return made


@pytest.mark.parametrize("suffix", style.FORMATS)
def test_distance_gives_the_same_bytes_and_a_caption_with_numbers(plan: Plan, suffix: str) -> None:
    for name in ("a", "b"):
        distance(plan, None, ["query", "ref-pe"], f"{name}{suffix}", PARAMS)
    assert Path(f"a{suffix}").read_bytes() == Path(f"b{suffix}").read_bytes()
    caption = Path("a.txt").read_text()
    assert "half the diagonal" in caption
    assert "query (1 seed), ref-pe (2 seeds)" in caption
    assert "0.000 to 0.250, 5, 50.0, 52.0 ± 2.8" in caption
    assert "0.750 to 1.000, 2, -, -" in caption


def test_the_most_confused_classes_are_shown_and_named(plan: Plan) -> None:
    confusion(plan, None, ["ref-pe"], None, 2, "c.png", PARAMS)
    caption = Path("c.txt").read_text()
    assert "Where the pixels of 2 classes" in caption
    assert "those of the pairs that query confuses most" in caption
    assert "Runs: ref-pe (2 seeds)." in caption
    confusion(plan, None, [], "all", 6, "all.png", PARAMS)
    assert "Where the pixels of 4 classes" in Path("all.txt").read_text()


def test_pairs_count_by_both_directions() -> None:
    matrix = np.array([[[50, 0, 30, 20], [0, 90, 10, 0], [0, 0, 100, 0], [25, 0, 0, 75]]])
    assert most_confused(matrix, 2) == [0, 3]
    assert most_confused(matrix, 3) == [0, 3, 2]
    assert sorted(most_confused(matrix, 9)) == [0, 1, 2, 3]


def test_heat_maps_of_a_photo_of_either_split(plan: Plan) -> None:
    train(plan, "ref-pe")
    for name in ("a", "b"):
        heatmaps(plan, None, ["ref-pe"], None, None, "common", f"{name}.png", PARAMS)
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert "photo val-photo (val split) by ref-pe, seed" in Path("a.txt").read_text()
    heatmaps(plan, None, ["ref-pe"], "train-photo", "cat", "own", "c.svg", PARAMS)
    caption = Path("c.txt").read_text()
    assert "Logits of cat at every pixel of photo train-photo (train split)" in caption
    assert "Query − Reference − positional" in caption
    assert "scale of its own" in caption


def test_colours_are_around_zero_and_common_unless_asked() -> None:
    maps = {"Query": np.array([-0.5, 0.2]), "Reference": np.array([0.0, 0.1])}
    assert heat_maps.scale_of(maps, "common") == {"Query": 0.5, "Reference": 0.5}
    assert heat_maps.scale_of(maps, "own") == {"Query": 0.5, "Reference": 0.1}


def test_the_most_frequent_change_of_class() -> None:
    window = Window(0, 0, 1, 4)
    before = torch.eye(3)[[0, 0, 0, 1]].T[:, None]
    after = torch.eye(3)[[2, 2, 1, 1]].T[:, None]
    parts = {n: [Piece(window, m)] for n, m in (("Query", before), ("rectified", after))}
    assert heat_maps.change(Logits(parts, Frame(1, (1, 4), (1, 4)))) == (0.75, [0, 2])


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda p: distance(p, None, ["qery"], "a.png", PARAMS), "no run 'qery'; did you mean 'qu"),
        (lambda p: distance(p, "nothing-like", [], "a.png", PARAMS), "no dataset 'nothing-like'"),
        (lambda p: distance(p, None, ["query"], "a.jpg", PARAMS), "must end in .png"),
        (lambda p: distance(p, None, ["query"], str(p.root / "figures/a.png"), PARAMS), "elsewher"),
        (
            lambda p: distance(p, None, ["distill"], "a.png", PARAMS),
            "stale (not made yet): run `s",
        ),
        (lambda p: confusion(p, None, ["query"], "cta", 6, "a.png", PARAMS), "did you mean 'cat'"),
        (
            lambda p: heatmaps(p, None, ["query"], None, None, "common", "a.png", PARAMS),
            "neither Reference nor positional logits to show: name a run that learns or inherits",
        ),
        (
            lambda p: heatmaps(p, None, ["ref-pe"], None, None, "common", "a.png", PARAMS),
            "prepare",
        ),
    ],
)
def test_a_wrong_request_is_one_sentence(plan: Plan, draw, said: str) -> None:
    with pytest.raises(ReclipError) as caught:
        draw(plan)
    assert said in str(caught.value)
    assert not list(Path().glob("a.*"))


def test_an_unknown_photo_is_refused(plan: Plan) -> None:
    train(plan, "ref-pe")
    with pytest.raises(ReclipError, match="no photo 'val-phto'; did you mean 'val-photo'"):
        heatmaps(plan, None, ["ref-pe"], "val-phto", None, "common", "a.png", PARAMS)


def test_a_dataset_without_labels_has_heat_maps_only(project: Path, tiny_params) -> None:
    (project / "photos").mkdir()
    Image.new("RGB", (24, 16)).save(project / "photos" / "one.png")
    source = {"kind": "folder", "images": "photos", "classes": [[name] for name in NAMES]}
    runs = {"own-ref": {"dataset": "own", "method": "rectify", "rectify": {"positional": False}}}
    changes = {"datasets": {"own": {"source": source}}, "runs": runs}
    (project / PARAMS).write_text(yaml.safe_dump(tiny_params(changes), sort_keys=False))
    plan = Plan.load(PARAMS)
    train(plan, "own-ref")
    arguments = ["figure", "heatmaps", "--dataset", "own", "--classes", "cat, dog", "-o", "h.png"]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.output == "wrote h.png, and its caption to h.txt\n"
    caption = Path("h.txt").read_text()
    assert "photo train-photo (train split) by own-ref" in caption
    assert "The rectified logits are Query − Reference." in caption
    assert "no positional logits" in caption
    with pytest.raises(ReclipError, match="'own' has no labels, so distance cannot be computed"):
        distance(plan, "own", ["own-ref"], "d.png", PARAMS)
    with pytest.raises(ReclipError, match="'own' has no labels, so confusion cannot be computed"):
        confusion(plan, "own", ["own-ref"], None, 6, "c.png", PARAMS)
    with pytest.raises(ReclipError, match="there are datasets voc, own, and a figure shows one"):
        distance(plan, None, [], "d.png", PARAMS)


def test_a_students_parts_add_up_to_its_logits(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    w_q, w_r = torch.randn(2, 4, 3, generator=generator)
    bias = torch.randn(4, 2, 2, generator=generator)
    head = SegmentationHead("query_reference_positional", 4, 3, w_q=w_q, w_r=w_r, positional=bias)

    class Student:
        def __init__(self) -> None:
            self.head = head

        def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            unit = torch.nn.functional.normalize(images[..., ::8, ::8], dim=1)
            return head(unit), unit

    image = np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")
    features = SimpleNamespace(image_settings=ImageSettings(), norm="clip")
    photo = heat_maps.Photo("val", 0, Item("photo", tmp_path / "photo.png", 16, 24))
    found = heat_maps.of_student(Student(), Rectifier(w_q, w_r), features, photo).parts
    by_name = {name: pieces[0].logits for name, pieces in found.items()}
    expected = by_name["Query"] - by_name["Reference"] - by_name["positional"]
    torch.testing.assert_close(by_name["rectified"], expected)


def test_class_names_may_hold_blanks() -> None:
    assert class_ids("dog,  cat , dog", NAMES) == [1, 0]
    with pytest.raises(ReclipError, match="names no class"):
        class_ids(" , ", NAMES)
