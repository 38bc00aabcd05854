"""Presets strong and mini-strong: extractors × Query, ReCLIP and ReCLIP++, each by its protocol."""

from __future__ import annotations

import pytest
import yaml

from reclip.config.load import validate
from reclip.config.params import Params
from reclip.pipeline.plan import Plan
from reclip.presets import preset_text

EXTRACTORS = ("maskclip", "sclip", "clearclip", "naclip")
PAPERS = ("voc", "context", "ade")


def plan_of(name: str) -> Plan:
    return Plan(validate(Params, yaml.safe_load(preset_text(name))))


@pytest.fixture(scope="module")
def strong() -> Plan:
    return plan_of("strong")


@pytest.mark.parametrize(
    ("dataset", "side", "crop", "epochs", "horizon", "batch", "lr", "window"),
    [
        ("voc", 336, 336, 51, 200, 1, 0.01, 56),
        ("context", 448, 480, 51, 400, 1, 0.01, 80),
        ("ade", 512, 512, 101, 600, 1, 0.01, 85),
        ("cityscapes", 448, 512, 51, 300, 16, 0.16, 85),
        ("coco-stuff", 512, 512, 101, 800, 1, 0.01, 85),
    ],
)
def test_reclip_plus_plus_has_its_authors_settings(
    strong, dataset, side, crop, epochs, horizon, batch, lr, window
) -> None:
    section, rectify = strong.experiment.section, strong.experiment.rectify(f"{dataset}-plus")
    image, views = section(dataset, "image"), section(dataset, "views")
    assert (image.short_side, image.protocol, views.crop) == (side, "whole", crop)
    assert (rectify.model, rectify.gumbel_scale) == ("reclip++", 100)
    assert (rectify.epochs, rectify.horizon, rectify.batch, rectify.lr) == (
        epochs, horizon, batch, lr,
    )  # fmt: skip
    hypotheses = section(dataset, "hypotheses")
    assert hypotheses.image == "windows"
    assert (hypotheses.window, hypotheses.stride) == (window, crop // 12) == (crop // 6, crop // 12)


@pytest.mark.parametrize("base", PAPERS)
@pytest.mark.parametrize(
    ("extractor", "attention", "kept", "side", "window", "stride", "names"),
    [
        ("maskclip", "value", True, 448, 448, 224, "clearclip"),
        ("sclip", "sclip", True, 336, 224, 112, "sclip"),
        ("clearclip", "clearclip", False, 448, 448, 224, "clearclip"),
        ("naclip", "naclip", False, 336, 224, 112, "sclip"),
    ],
)
def test_an_extractor_reads_by_its_published_protocol(
    strong, base, extractor, attention, kept, side, window, stride, names
) -> None:
    dataset = f"{base}-{extractor}"
    clip, image = strong.experiment.clip_of(dataset), strong.experiment.section(dataset, "image")
    assert (clip.attention, clip.residual, clip.mlp) == (attention, kept, kept)
    assert (clip.activation, clip.norm, clip.block_ln_eps) == ("default", "clip", None)
    assert image.short_side == side
    views = strong.experiment.section(dataset, "views")
    if dataset == "voc-naclip":
        assert image.protocol == "whole" and views.crop == side
    else:
        assert (image.protocol, image.window, image.stride) == ("slide", window, stride)
        assert views.crop == window  # rectification sees the grid that it predicts on
    assert strong.experiment.section(dataset, "prompts").templates == "imagenet"  # the 80
    assert strong.params.datasets[dataset].names == names
    trained, own = strong.experiment.rectify(f"{dataset}-plus"), f"{base}-plus"
    assert trained == strong.experiment.rectify(own)


def test_a_published_number_has_its_place_and_its_protocol(strong) -> None:
    for name, table in strong.params.tables.items():
        for row in table.rows:
            published = any(cell.paper is not None for cell in row.cells.values())
            assert published == bool(row.source) == bool(row.protocol), f"{name}: {row.row}"


def test_only_the_row_that_says_so_has_thresholds_of_its_authors(strong) -> None:
    """They were tuned on labels."""
    for run, settings in strong.params.runs.items():
        denoised = strong.experiment.run_section(run, "evaluate").prompt_denoising
        assert denoised == run.endswith("-denoised"), run
        if denoised:
            assert settings.rectify == strong.params.runs[run.removesuffix("-denoised")].rectify
    (row,) = (
        row
        for row in strong.params.tables["extractors"].rows
        if row.cells["voc"].run == "voc-plus-denoised"
    )
    assert "threshold and epoch chosen by labels" in row.protocol


@pytest.mark.parametrize("name", ["strong", "mini-strong"])
def test_every_extractor_has_every_bias_model_and_its_students(name: str) -> None:
    runs = plan_of(name).params.runs
    for extractor in EXTRACTORS:
        for base in PAPERS:
            assert runs[f"{base}-{extractor}-query"].method == "query"
            models = {
                model: runs[f"{base}-{extractor}-{model}"].rectify.get("model", "reclip")
                for model in ("reclip", "plus")
            }
            assert models == {"reclip": "reclip", "plus": "reclip++"}
        for model in ("reclip", "plus"):
            student = runs[f"voc-{extractor}-{model}-distill"]
            assert student.teacher == f"voc-{extractor}-{model}"


def test_mini_strong_has_the_settings_of_mini() -> None:
    mini, strong = plan_of("mini"), plan_of("mini-strong")
    for base in PAPERS:
        assert strong.params.datasets[base].source == mini.params.datasets[base].source
        for section in ("clip", "image", "views", "hypotheses", "rectify", "distill"):
            wanted = mini.experiment.section(base, section)
            assert strong.experiment.section(base, section) == wanted, (base, section)
    assert strong.params.check == mini.params.check
