"""`compat` picks a side wherever paper and official code contradict each other."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from reclip.cli.main import cli
from reclip.common.errors import ReclipError
from reclip.config import compat
from reclip.config.models import DATASET_SECTIONS, ClipSettings

SECTIONS = {"clip": ClipSettings, **DATASET_SECTIONS}


@pytest.mark.parametrize("option", compat.DIFFERENCES, ids=lambda d: f"{d.section}.{d.key}")
def test_every_option_is_a_setting_and_takes_the_official_value(option) -> None:
    settings = SECTIONS[option.section].model_validate({option.key: option.official})
    assert getattr(settings, option.key) == option.official


def test_official_switches_every_option_that_the_file_leaves_open(tiny_plan) -> None:
    bare = {"prompts": None, "rectify": None, "distill": None, "compat": "official"}
    plan = tiny_plan(bare)
    for option in compat.DIFFERENCES:
        section = (
            plan.experiment.clip
            if option.section == "clip"
            else plan.experiment.section("voc", option.section)
        )
        assert getattr(section, option.key) == option.official, option


def test_what_the_file_says_wins_over_compat(tiny_plan) -> None:
    plan = tiny_plan(
        {
            "compat": "official",
            "clip": {"norm": "clip"},
            "rectify": {"gumbel_scale": 50},
            "datasets": {"voc": {"rectify": {"padding": "ignored"}}},
            "runs": {"ref-pe": {"rectify": {"batch": 7}}},
        }
    )
    given = plan.experiment.rectify("ref-pe")
    assert (given.gumbel_scale, given.padding, given.batch) == (50, "ignored", 7)
    assert given.class_slots == "official" and plan.experiment.clip.norm == "clip"


def test_the_default_is_the_paper(tiny_plan) -> None:
    plan = tiny_plan({"prompts": None, "rectify": None, "distill": None})
    for option in compat.DIFFERENCES:
        model = SECTIONS[option.section]
        section = (
            plan.experiment.clip
            if option.section == "clip"
            else plan.experiment.section("voc", option.section)
        )
        assert getattr(section, option.key) == getattr(model(), option.key)


def test_compat_is_part_of_what_makes_outputs_stale(tiny_plan) -> None:
    paper, official = tiny_plan(), tiny_plan({"compat": "official"})
    for name in (("cache-features", "voc"), ("rectify", "ref-pe", 0), ("evaluate", "query")):
        assert paper.job(*name).digest != official.job(*name).digest
    assert paper.job("prepare", "voc").digest == official.job("prepare", "voc").digest


def test_an_unknown_side_is_refused(tiny_plan) -> None:
    with pytest.raises(ReclipError, match=r"'compat': input should be 'paper' or 'official'"):
        tiny_plan({"compat": "offical"})


def test_the_options_are_listed_with_the_value_that_holds(project) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text() + "compat: official\nhypotheses: {image: whole}\n")
    result = CliRunner().invoke(cli, ["compat"])
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert len(lines) == len(compat.DIFFERENCES) + 1
    assert "here centre_crop" not in lines["hypotheses.image"]
    assert "default ignored" in lines["rectify.padding"]
    assert "here counted" in lines["rectify.padding"]
