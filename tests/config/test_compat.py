"""`compat` picks a side wherever paper, official code and this package could differ.

The rule of `compat: paper`: the paper's text first; where it is silent, the official code; what the
code contradicts the text by, or reads labels for, is not repeated. Every setting of preset `paper`
has a point with its source, and no value breaks the rule.
"""

from __future__ import annotations

import re

import pytest
import yaml
from click.testing import CliRunner

from reclip.cli import compat as command
from reclip.cli.main import cli
from reclip.common.errors import ReclipError
from reclip.config.compat import values
from reclip.config.load import validate
from reclip.config.models import ClipSettings, SeedSettings
from reclip.config.params import DATASET_SECTIONS, RUN_SECTIONS, Params
from reclip.config.points import CONTRAST, KINDS, NO_SETTING, SETTINGS, By, Point
from reclip.config.update_recipes import UPDATE_RECIPES
from reclip.pipeline.plan import Plan
from reclip.presets import preset_text
from support.paths import ROOT

SECTIONS = {"clip": ClipSettings, **DATASET_SECTIONS, "seeds": SeedSettings}
POINTS = {point.key: point for point in SETTINGS}
DATASETS = By._fields

# Sections that decide where and how jobs run, and no number of a table.
NO_NUMBER = {"experiment", "downloads", "compute", "tracking", "compat", "recipe"}
# What an experiment is of, not how it is made.
CONTENT = {"datasets", "runs", "tables", "check"}


def paper(**changes) -> Plan:
    params = validate(Params, yaml.safe_load(preset_text("paper")))
    return Plan(params.model_copy(update=changes))


def on(value: object, dataset: str) -> object:
    return getattr(value, dataset) if isinstance(value, By) else value


def section_of(plan: Plan, dataset: str, name: str):
    if name == "seeds":
        return plan.params.seeds
    return plan.experiment.clip if name == "clip" else plan.experiment.section(dataset, name)


# ---------------------------------------------------------------- every setting has a source


def test_every_setting_of_the_paper_has_one_point() -> None:
    """No section and no setting decides silently."""
    assert set(Params.model_fields) == {*SECTIONS, *NO_NUMBER, *CONTENT}
    fields = [f"{name}.{field}" for name, model in SECTIONS.items() for field in model.model_fields]
    assert sorted(fields) == sorted(point.key for point in SETTINGS)


@pytest.mark.parametrize("point", [*SETTINGS, *NO_SETTING], ids=lambda point: point.key)
def test_a_point_names_a_source_that_fits_its_kind(point: Point) -> None:
    assert point.kind in KINDS and point.source
    if point.kind == "text":
        assert re.search(r"Sec\. \d|Eq|Table \d", point.source), point.source
    if point.kind == "code":
        assert point.source.startswith("official code"), point.source
    if point.kind == "fault":
        # The paper does not follow the code; the text says why, or what it never mentions.
        assert re.search(r"Sec\. \d|Eqs?\. \d|never mentions", point.source), point.source
        assert point.effect
    else:
        official = point.under("official")
        assert official == point.paper or point.kind == "ours", "text and code decide both sides"


def breaches(plan: Plan, dataset: str) -> list[str]:
    """Return the settings whose value is not that of the plan's side."""
    side = plan.params.compat
    return [
        key
        for key, point in POINTS.items()
        if getattr(section_of(plan, dataset, point.section), point.name)
        != on(point.under(side), dataset)
    ]


@pytest.mark.parametrize("side", ["paper", "official"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_no_value_of_the_preset_breaks_the_rule(side, dataset: str) -> None:
    assert breaches(paper(compat=side), dataset) == []


def test_a_row_of_a_table_differs_only_where_its_table_says_so() -> None:
    plan = paper()
    for run, settings in plan.params.runs.items():
        for name in RUN_SECTIONS:
            for field in getattr(settings, name):
                assert POINTS[f"{name}.{field}"].rows, f"{run}: {name}.{field}"


def test_a_value_against_the_rule_is_noticed() -> None:
    settings = yaml.safe_load(preset_text("paper"))
    settings["views"]["flip"] = 0.4
    settings["datasets"]["ade"]["rectify"]["epochs"] = 200
    plan = Plan(validate(Params, settings))
    assert breaches(plan, "voc") == ["views.flip"]
    assert breaches(plan, "ade") == ["views.flip", "rectify.epochs"]
    assert len(breaches(paper(recipe="batched"), "voc")) == 2  # batch and rate, by its name


def test_the_official_side_differs_only_in_faults_and_precision() -> None:
    differing = {point.key for point in SETTINGS if point.under("official") != point.paper}
    assert differing == {
        "clip.cache_dtype",
        "rectify.class_slots",
        "pseudo_mask.prompt_denoising",
        "evaluate.prompt_denoising",
        "distill.detach_feature",
    }


def test_the_faithful_recipe_follows_the_rule_and_is_the_default() -> None:
    assert paper().params.recipe == "faithful"
    for name, value in UPDATE_RECIPES["faithful"].items():
        assert value == POINTS[f"rectify.{name}"].paper
    faithful, batched = UPDATE_RECIPES["faithful"], UPDATE_RECIPES["batched"]
    assert batched["lr"] / faithful["lr"] == batched["batch"] / faithful["batch"] == 16
    given = paper(recipe="batched").experiment.rectify("voc-ref-pe")
    assert (given.batch, given.lr) == (16, 0.16)
    # Students and the probe have their own batches.
    assert paper(recipe="batched").experiment.distill("voc-distill").batch == 16
    assert POINTS["probe.batch"].source == CONTRAST


# ---------------------------------------------------------------- which value holds


def test_a_side_gives_what_the_file_leaves_open(tiny_plan) -> None:
    bare = {"prompts": None, "rectify": None, "distill": None}
    for side in ("paper", "official"):
        plan = tiny_plan({**bare, "compat": side})
        assert plan.experiment.section("voc", "rectify").positional_final_relu
        assert plan.experiment.section("voc", "distill").detach_feature == (side == "official")


def test_without_a_side_the_defaults_hold(tiny_plan) -> None:
    plan = tiny_plan({"prompts": None, "rectify": None, "distill": None})
    for name in ("prompts", "rectify", "distill"):
        assert plan.experiment.section("voc", name) == DATASET_SECTIONS[name]()
    assert values(None, "rectify") == {}


@pytest.mark.parametrize("side", ["paper", "official"])
def test_only_the_file_says_which_weights_are_used(tiny_plan, side) -> None:
    """OpenAI's tag beside a file of other weights would give these QuickGELU."""
    own = {"model": "ViT-B-16", "checkpoint": "laion.pt"}
    clip = tiny_plan({"compat": side, "clip": own}).experiment.clip
    assert (clip.model, clip.pretrained, clip.checkpoint) == ("ViT-B-16", None, "laion.pt")


def test_values_by_dataset_need_one_of_the_papers_datasets() -> None:
    assert values("paper", "rectify", "ade")["epochs"] == 150
    assert "epochs" not in values("paper", "rectify", "folder")
    assert values("paper", "rectify", "folder")["batch"] == 1


def test_what_the_file_says_wins_over_compat_and_recipe(tiny_plan) -> None:
    plan = tiny_plan(
        {
            "compat": "official",
            "recipe": "batched",
            "clip": {"norm": "clip"},
            "rectify": {"gumbel_scale": 50, "batch": None},
            "datasets": {"voc": {"rectify": {"padding": "ignored"}}},
            "runs": {"ref-pe": {"rectify": {"batch": 7}}},
        }
    )
    given = plan.experiment.rectify("ref-pe")
    assert (given.gumbel_scale, given.padding, given.batch) == (50, "ignored", 7)
    assert given.class_slots == "official" and plan.experiment.clip.norm == "clip"
    assert plan.experiment.section("voc", "rectify").batch == 16


def test_compat_is_part_of_what_makes_outputs_stale(tiny_plan) -> None:
    paper, official = tiny_plan(), tiny_plan({"compat": "official"})
    for name in (("cache-features", "voc"), ("rectify", "ref-pe", 0), ("evaluate", "query")):
        assert paper.job(*name).digest != official.job(*name).digest
    assert paper.job("prepare", "voc").digest == official.job("prepare", "voc").digest


def test_an_unknown_side_or_recipe_is_refused(tiny_plan) -> None:
    with pytest.raises(ReclipError, match=r"'compat': input should be 'paper' or 'official'"):
        tiny_plan({"compat": "offical"})
    with pytest.raises(ReclipError, match=r"'recipe': input should be 'faithful' or 'batched'"):
        tiny_plan({"recipe": "large"})


# ---------------------------------------------------------------- what a person reads


def test_all_points_are_listed_with_the_value_that_holds(project) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text() + "compat: official\nhypotheses: {image: whole}\n")
    result = CliRunner().invoke(cli, ["compat"])
    assert result.exit_code == 0, result.output
    lines = {line.split("  ")[1]: line for line in result.output.splitlines() if line[:2] == "  "}
    assert lines.keys() == {*POINTS, *(point.key for point in NO_SETTING)}
    assert lines["hypotheses.image"].split()[1] == "whole"
    assert lines["rectify.padding"].split()[1:4] == ["counted", "default", "ignored"]


def test_the_page_shows_the_list(tmp_path) -> None:
    """`reclip compat --write docs/paper.md` writes it again."""
    page = (ROOT / "docs/paper.md").read_text(encoding="utf-8")
    shown = page.split(command.BEGIN)[1].split(command.END)[0].strip()
    assert shown == command.compat_markdown()
    for point in (*SETTINGS, *NO_SETTING):
        assert f"`{point.key}`" in shown or f"| {point.key} |" in shown
