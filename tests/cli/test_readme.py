"""The README's numbers are those of the tracked results."""

from __future__ import annotations

import pytest

from reclip.cli.readme import with_tables
from reclip.common.errors import ReclipError
from reclip.pipeline.plan import Plan
from support.paths import ROOT


def test_the_tables_are_the_results(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_tables(text, Plan.load()) == text, "run `reclip readme`"


def test_missing_markers_are_an_error():
    with pytest.raises(ReclipError, match="has no markers"):
        with_tables("# reclip", Plan.load(ROOT / "params.yaml"))


def test_dvc_yaml_is_generated_from_the_plan(monkeypatch):
    from reclip.versioning.dvc_yaml import pipeline_text

    monkeypatch.chdir(ROOT)
    assert (ROOT / "dvc.yaml").read_text(encoding="utf-8") == pipeline_text(Plan.load()), (
        "run `reclip dvc`"
    )
