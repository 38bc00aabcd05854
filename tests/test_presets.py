"""The settings files that come with the package."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from reclip.config import Params
from reclip.errors import ReclipError
from reclip.files import file_sha256
from reclip.params import load_params, validate
from reclip.plan import Plan
from reclip.presets import WITH_WEIGHTS, preset_text, write_preset

ROOT = Path(__file__).parents[1]
PRESETS = ("mini", "voc")


def test_the_committed_params_are_the_embedded_default() -> None:
    assert (ROOT / "params.yaml").read_bytes() == (ROOT / "reclip/presets/mini.yaml").read_bytes()


def test_every_preset_is_known() -> None:
    assert sorted(p.stem for p in (ROOT / "reclip/presets").glob("*.yaml")) == sorted(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_makes_a_whole_plan(name: str) -> None:
    params = validate(Params, yaml.safe_load(preset_text(name)))
    assert params.experiment == name
    plan = Plan(params)
    assert plan.jobs
    measured = {run for table in params.tables for run in plan.table_runs(table)}
    # A run that neither a table nor the check shows is computed for nothing.
    assert measured | plan.check_only == set(params.runs)


def test_mini_has_every_table_of_the_paper() -> None:
    params = load_params(ROOT / "params.yaml")
    assert list(params.tables) == [f"table{k}" for k in range(1, 8)]
    cells = [c for t in params.tables.values() for row in t.rows for c in row.cells.values()]
    assert all(cell.paper is not None for cell in cells)


def test_one_run_has_one_value_of_the_paper_wherever_it_stands() -> None:
    for name in PRESETS:
        seen: dict[str, float] = {}
        for table in validate(Params, yaml.safe_load(preset_text(name))).tables.values():
            for row in table.rows:
                for cell in row.cells.values():
                    if cell.run:
                        assert seen.setdefault(cell.run, cell.paper) == cell.paper, cell.run


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_written_as_it_is(tmp_path: Path, name: str) -> None:
    path = write_preset(name, tmp_path / "new" / "params.yaml")
    assert path.read_text(encoding="utf-8") == preset_text(name)


# Names that YAML would take for something else.
ODD = ["VOC.tar", "my photos, 2012 {a}.tar", "a: b #c.tar", "ünï'cö\"de.tar"]


@pytest.mark.parametrize("name", ODD)
def test_voc_from_an_archive(tmp_path: Path, name: str) -> None:
    archive = tmp_path / name
    archive.write_bytes(b"archive")
    path = write_preset("voc", tmp_path / "p.yaml", archive=str(archive), limit=7)
    source = load_params(path).datasets["voc"].source
    assert source.archive == str(archive)
    assert source.sha256 == file_sha256(archive)
    assert source.limit == 7
    assert "# One run a row of a table" in path.read_text(encoding="utf-8")  # comments stay


@pytest.mark.parametrize("name", ODD)
def test_voc_from_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    path = write_preset("voc", tmp_path / "p.yaml", folder=str(tmp_path / name))
    source = load_params(path).datasets["voc"].source
    assert source.folder == str(tmp_path / name) and source.archive is None


@pytest.mark.parametrize("name", ["ViT-B-16.pt", "a: b, {c} #d.pt"])
def test_clip_weights_bring_the_recipe_of_the_official_code(tmp_path: Path, name: str) -> None:
    weights = tmp_path / name
    weights.write_bytes(b"weights")
    params = load_params(write_preset("voc", tmp_path / "p.yaml", checkpoint=str(weights)))
    assert (params.clip.model, params.clip.checkpoint) == ("ViT-B-16", str(weights))
    assert (params.clip.activation, params.clip.norm, params.clip.block_ln_eps) == (
        "gelu", "imagenet", 1e-6,
    )  # fmt: skip
    assert params.image.short_side == 512
    assert (params.views.crop, params.views.scale) == (512, (0.5, 2.0))
    assert params.rectify.positional_hidden == (512, 256)


def test_every_line_that_weights_replace_is_in_the_preset() -> None:
    for line in WITH_WEIGHTS:
        assert preset_text("voc").count(line) == 1, line


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mini", {"limit": 3}, "leave out the options for voc"),
        ("voc", {"archive": "no.tar"}, "no archive 'no.tar'"),
        ("voc", {"folder": "no"}, "no folder 'no'"),
        ("voc", {"checkpoint": "no.pt"}, "no checkpoint 'no.pt'"),
        ("voc", {"archive": __file__, "folder": str(ROOT)}, "`archive` or `folder`, not both"),
    ],
)
def test_a_wrong_option_writes_nothing(tmp_path: Path, name, options, words) -> None:
    with pytest.raises(ReclipError, match=words):
        write_preset(name, tmp_path / "p.yaml", **options)
    assert list(tmp_path.iterdir()) == []
