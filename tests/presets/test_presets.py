"""The settings files that come with the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from reclip.cli.init import FOLDER, init
from reclip.common.errors import ReclipError
from reclip.common.files import file_sha256
from reclip.config.load import load_params, validate
from reclip.config.params import Params
from reclip.pipeline.plan import Plan
from reclip.presets import PRESETS, preset_text, write_settings
from reclip.presets.options import WITH_REAL_CLIP, changes, fitted_to_weights
from support.expanded import save_expanded
from support.paths import ROOT

WHOLE = ("mini", "paper")


def preset(name: str) -> Params:
    return validate(Params, yaml.safe_load(preset_text(name)))


def write_preset(name: str, path: Path, changes: dict | None = None) -> Path:
    return write_settings(preset_text(name), path, changes, name)


def test_the_committed_params_are_the_embedded_default() -> None:
    assert (ROOT / "params.yaml").read_text(encoding="utf-8") == preset_text("mini")


def test_every_preset_can_be_asked_for() -> None:
    choices = (*PRESETS, FOLDER)
    assert sorted(p.stem for p in (ROOT / "reclip/presets").glob("*.yaml")) == sorted(choices)
    (argument,) = (p for p in init.params if p.name == "preset")
    assert set(argument.type.choices) == set(choices)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_makes_a_whole_plan(name: str) -> None:
    params = preset(name)
    assert params.experiment == name
    plan = Plan(params)
    assert plan.jobs
    # A run that no table shows is computed for nothing.
    assert set(plan.experiment.tabled) == set(params.runs)


def test_the_check_of_the_default_has_five_seeds_of_every_measured_row() -> None:
    plan = Plan(preset("mini"))
    check = plan.job("check", "mini")
    seeds: dict[str, set[int | None]] = {}
    for job in check.inputs.values():
        seeds.setdefault(job.id, set()).add(job.seed)
    trained = {run for run, s in plan.params.runs.items() if s.method != "query"}
    assert seeds.keys() == set(plan.experiment.tabled)
    assert all(seeds[run] == ({0, 1, 2, 3, 4} if run in trained else {None}) for run in seeds)


@pytest.mark.parametrize("name", ["paper", "voc"])
def test_a_check_can_be_added_to_any_preset(name: str, tmp_path: Path) -> None:
    given = changes(name, assignments=["check.seeds=[0, 1, 2]"])
    plan = Plan.load(write_preset(name, tmp_path / "p.yaml", given))
    assert plan.seeds("distill", "voc-distill") == (0, 1, 2)
    assert [job.seed for job in plan.job("gather", "voc-distill").inputs.values()] == [0]


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_preset_has_every_table_of_the_paper(name: str) -> None:
    params = preset(name)
    assert list(params.tables) == [f"table{k}" for k in range(1, 8)]
    rows = [row for table in params.tables.values() for row in table.rows]
    cells = [cell for row in rows for cell in row.cells.values()]
    assert all(cell.paper is not None for cell in cells)
    # What is cited says how it was measured; what is measured says it in its metrics.
    for row in rows:
        cited = all(cell.run is None for cell in row.cells.values())
        assert cited == (row.protocol is not None), row.row


def test_one_run_has_one_value_of_the_paper_wherever_it_stands() -> None:
    for name in PRESETS:
        seen: dict[str, float] = {}
        for table in preset(name).tables.values():
            for row in table.rows:
                for cell in row.cells.values():
                    if cell.run:
                        assert seen.setdefault(cell.run, cell.paper) == cell.paper, cell.run


def test_every_value_of_the_paper_preset_says_its_source() -> None:
    """A line that sets a value is followed by its source, or stands in a block that begins so."""
    text = preset_text("paper").split("\n# One run per row")[0]
    settings = text[text.index("clip:") : text.index("datasets:")]
    said = ("paper", "official", "ours", "OpenAI", "MaskContrast")
    for line in settings.splitlines():
        if line and not line.rstrip().endswith(":"):
            assert any(word in line.split("#", 1)[-1] for word in said), line
    own = text[text.index("datasets:") : text.index("# `snakemake paper_check`")]
    for line in own.splitlines()[1:]:
        if line.startswith("    ") and "source:" not in line:
            assert "# official" in line, line


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_written_as_it_is(tmp_path: Path, name: str) -> None:
    path = write_preset(name, tmp_path / "new" / "params.yaml")
    assert path.read_text(encoding="utf-8") == preset_text(name)


# Names that YAML would take for something else.
ODD = ["VOC.tar", "my photos, 2012 {a}.tar", "a: b #c.tar", "ünï'cö\"de=.tar"]


@pytest.mark.parametrize("name", ODD)
def test_voc_from_an_archive(tmp_path: Path, name: str) -> None:
    archive = tmp_path / name
    archive.write_bytes(b"archive")
    path = write_preset(
        "voc", tmp_path / "p.yaml", changes("voc", archives=[str(archive)], limit=7)
    )
    source = load_params(path).datasets["voc"].source
    assert source.archive == str(archive)
    assert source.sha256 == file_sha256(archive)
    assert source.limit == 7
    assert "# One run per row of a table" in path.read_text(encoding="utf-8")  # comments stay


@pytest.mark.parametrize("name", ODD)
def test_one_of_three_data_sets_from_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    given = changes("paper", folders=[f"ade={tmp_path / name}"])
    sources = {
        n: d.source
        for n, d in load_params(write_preset("paper", tmp_path / "p.yaml", given)).datasets.items()
    }
    assert sources["ade"].folder == str(tmp_path / name) and sources["ade"].archive is None
    assert sources["voc"].folder is None


@pytest.mark.parametrize("name", ["ViT-B-16.pt", "a: b, {c} #d.pt"])
def test_clip_weights_from_a_file(tmp_path: Path, name: str) -> None:
    weights = tmp_path / name
    weights.write_bytes(b"weights")
    given = changes("paper", checkpoint=str(weights), downloads="/data")
    params = load_params(write_preset("paper", tmp_path / "p.yaml", given))
    assert (params.clip.pretrained, params.clip.checkpoint) == (None, str(weights))
    assert params.downloads == "/data"


def test_the_model_of_the_paper_is_that_of_the_weights(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Plan(preset("paper")).experiment.clip.activation == WITH_REAL_CLIP["paper"]["activation"]
    given = changes("paper", checkpoint=save_expanded(tmp_path / "own.pt", "ViT-B-16"))
    with pytest.raises(ReclipError, match="does not show whether it was trained with QuickGELU"):
        fitted_to_weights("paper", given)
    named = {**given, "clip.model": "ViT-B-16", "clip.activation": "gelu"}
    found, (note,) = fitted_to_weights("paper", named)
    assert found["clip.model"] == "ViT-B-16" and note.startswith("note: activation: GELU in the")


def told(*assignments: str) -> list[str]:
    return fitted_to_weights("paper", changes("paper", assignments=assignments))[1]


@pytest.mark.parametrize(
    ("given", "note"),
    [
        (["rectify.lr=0.1"], None),
        (["clip.model=mini-clip"], None),
        (
            ["clip.model=ViT-L-14", "clip.pretrained=metaclip_400m"],
            r"GELU in the image tower \(clip.activation says so\), QuickGELU \(clip.pretrained is "
            r"metaclip_400m\) in the text tower",
        ),
        (
            ["clip.model=ViT-L-14", "clip.pretrained=metaclip_400m", "clip.activation=default"],
            r"activation: QuickGELU \(clip.pretrained is metaclip_400m\)$",
        ),
        (
            ["clip.model=ViT-L-14", "clip.pretrained=laion2b_s32b_b82k", "clip.norm=inception"],
            r"GELU \(clip.model is ViT-L-14\) in the text tower",
        ),
    ],
)
def test_the_activation_of_other_weights_is_told(given: list[str], note: str | None) -> None:
    """Preset paper takes GELU in the image tower, as the official code does."""
    notes = told(*given)
    assert len(notes) == bool(note)
    assert all(re.search(note, said) for said in notes), notes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["clip.model=ViT-B-16-SigLIP"], "the towers of 'ViT-B-16-SigLIP' differ from CLIP's ViT"),
        (["clip.model=ViT-L-15"], "no CLIP model 'ViT-L-15'"),
        (["clip.pretrained=laion2b_s34b_b88k"], "of ViT-B-16 with GELU: set clip.model to it"),
        (["clip.pretrained=metaclip"], r"knows for it \(metaclip_400m, metaclip_fullcc\)"),
        (
            ["clip.model=ViT-L-14", "clip.pretrained=laion2b_s32b_b82k"],
            "but clip.norm is imagenet. Set clip.norm to inception",
        ),
        (["clip.norm=inception"], "openai of ViT-B-16-quickgelu expect .* Set clip.norm to clip"),
        (["clip.norm=other"], "'clip.norm'"),
        (["clip.nrm=clip", "clip.model=ViT-B-16"], "'clip.nrm'; did you mean 'norm'"),
    ],
)
def test_weights_that_cannot_be_used_write_nothing(given: list[str], words: str) -> None:
    with pytest.raises(ReclipError, match=words):
        told(*given)


def test_any_setting_can_be_set(tmp_path: Path) -> None:
    given = changes(
        "paper", assignments=["rectify.lr=0.02", "seeds.distill=[0, 1]", "compat=official"]
    )
    path = write_preset("paper", tmp_path / "p.yaml", given)
    params = load_params(path)
    assert (params.rectify.lr, params.compat) == (0.02, "official")
    # Lines that are not concerned keep their comments.
    assert "epochs: 200 # official, VOC" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mini", {"limit": 3}, "draws its own data"),
        ("voc", {"archives": ["no.tar"]}, "no archive 'no.tar'"),
        ("voc", {"folders": ["no"]}, "no folder 'no'"),
        ("paper", {"archives": ["x.tar"]}, "names no dataset: write DATASET=PATH"),
        ("voc", {"checkpoint": "no.pt"}, "use the preset paper"),
        ("paper", {"checkpoint": "no.pt"}, "no checkpoint 'no.pt'"),
        ("voc", {"archives": [__file__], "folders": [str(ROOT)]}, "not both"),
        ("paper", {"assignments": ["rectify.lr"]}, "is not KEY=VALUE"),
        ("paper", {"assignments": ["rectify.lr=[1"]}, "not YAML"),
        ("paper", {"assignments": ["rectify.lr=-1"]}, "'rectify.lr': input should be greater"),
        ("paper", {"assignments": ["rectfy.lr=1"]}, "did you mean 'rectify'"),
        ("paper", {"assignments": ["rectify.lrr=1"]}, "'rectify.lrr'; did you mean 'lr'"),
        ("paper", {"assignments": ["rectify.lr.x=1"]}, "unknown key|holds a value|valid number"),
        ("paper", {"assignments": ["compat.x=1"]}, "'compat' holds a value"),
    ],
)  # fmt: skip
def test_a_wrong_option_writes_nothing(tmp_path: Path, name, options, words) -> None:
    with pytest.raises(ReclipError, match=words):
        write_preset(name, tmp_path / "p.yaml", changes(name, **options))
    assert list(tmp_path.iterdir()) == []
