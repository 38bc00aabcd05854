"""The notebook runs from top to bottom, shows a segmentation, and is stored without outputs."""

from __future__ import annotations

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reclip.inference.segmentation import Segmentation
from support.paths import ROOT

NOTEBOOK = ROOT / "docs/notebooks/segment.ipynb"


@pytest.fixture(scope="module")
def cells() -> list[dict[str, Any]]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def run(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; return the value of its last line, if that is an expression, as a kernel does."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


def test_it_runs_and_shows_a_segmentation(cells, trained: Path, student: Path, monkeypatch) -> None:
    monkeypatch.chdir(NOTEBOOK.parent)
    names: dict[str, Any] = {}
    shown, said = [], io.StringIO()
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        with contextlib.redirect_stdout(said):
            shown.append(run("".join(cell["source"]), names))
        if "parameters" in cell["metadata"].get("tags", []):
            assert {"MODEL", "PHOTO"} <= names.keys()
            names["MODEL"] = str(student)
            names["PHOTO"] = str(trained / "results/tiny/data/voc/images/val-00000.png")
    _, _, found, shares, sureness, entropy, mask = shown
    assert isinstance(found, Segmentation) and found._repr_png_()
    assert 0 < sum(shares.values()) <= 1
    for picture in (sureness, entropy):
        assert isinstance(picture, Image.Image) and picture.size == mask.size
    assert f"entropy {found.uncertainty().entropy:.2f}" in said.getvalue()
    assert (np.asarray(mask) == found.mask).all()
    assert "Segmenter distill (student)" in said.getvalue() and "MIT licence" in said.getvalue()


def test_its_outputs_are_stripped(cells) -> None:
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) == 7
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
