"""`params.yaml`: what is checked, and how a mistake is reported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from reclip.common.errors import ReclipError
from reclip.config.load import VARIABLES, load_params, validate
from reclip.config.params import Params
from support.paths import PACKAGE


def test_a_valid_file_becomes_typed_settings(tmp_path: Path, tiny_params) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(tiny_params({"rectify": {"epochs": 7}})), encoding="utf-8")
    params = load_params(path)
    assert params.rectify.epochs == 7
    assert params.rectify.lr == 0.01  # the default stands where the file is silent


def test_numbers_may_be_written_with_an_exponent(tmp_path: Path, tiny_params) -> None:
    text = yaml.safe_dump(tiny_params()).replace("rectify:\n  ", "rectify:\n  lr: 1e-3\n  ", 1)
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_params(path).rectify.lr == 0.001


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rectify": {"lrr": 1}}, ["'rectify.lrr'", "did you mean 'lr'?"]),
        ({"rectfy": {}}, ["'rectfy'", "did you mean 'rectify'?"]),
        ({"runs": {"query": {"methd": "x"}}}, ["'runs.query.methd'", "did you mean 'method'?"]),
        (
            {"datasets": {"voc": {"source": {"trian": 3}}}},
            ["'datasets.voc.source.trian'", "did you mean 'train'?"],
        ),
        ({"rectify": {"epochs": 0}}, ["'rectify.epochs'", "greater than 0", "(got 0)"]),
        ({"rectify": {"combine": "sub"}}, ["'rectify.combine'", "'subtract' or 'add'"]),
        ({"hypotheses": {"threshold": float("nan")}}, ["'hypotheses.threshold'", "finite"]),
        (
            {"hypotheses": {"image": "windows", "relative": 0.7}},
            ["'hypotheses'", "`relative` is not used on windows", "set it to null"],
        ),
        ({"hypotheses": {"stride": 0}}, ["'hypotheses.stride'", "greater than 0"]),
        ({"views": {"scale": [2.0, 0.5]}}, ["'views.scale'", "the smallest and the largest"]),
        ({"views": {"seed": -1}}, ["'views.seed'", "greater than or equal to 0"]),
        ({"seeds": {"rectify": [0, 0]}}, ["'seeds.rectify'", "is given twice"]),
        ({"seeds": {"rectify": []}}, ["'seeds.rectify'", "at least 1 item"]),
        ({"seeds": {"rectify": [-1]}}, ["'seeds.rectify.0'", "greater than or equal to 0"]),
        (
            {"check": {"seeds": [3]}},
            ["'check.seeds'", "one seed has no interval: give at least two"],
        ),
        ({"check": {"seeds": [3, 3]}}, ["'check.seeds'", "is given twice"]),
        ({"check": {"query": "query"}}, ["unknown key 'check.query'; known: seeds"]),
        ({"experiment": "a b"}, ["'experiment'"]),
        ({"runs": {"../up": {"dataset": "voc", "method": "query"}}}, ["'runs.../up'", "pattern"]),
        ({"datasets": {"voc 2": {}}}, ["'datasets.voc 2'"]),
        ({"clip": None}, ["'clip'", "required"]),
        (
            {"datasets": {"voc": {"source": {"kind": "coco"}}}},
            ["'datasets.voc.source'", "'coco'", "'world', 'voc'"],
        ),
        (
            {
                "tables": {
                    "table4": {"rows": [{"row": "a", "cells": {}}, {"row": "a", "cells": {}}]}
                }
            },
            ["'tables.table4'", "same name"],
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(tiny_params, changes, words) -> None:
    with pytest.raises(ReclipError) as caught:
        validate(Params, tiny_params(changes))
    message = str(caught.value)
    assert message.startswith("params: ") and "\n" not in message and len(message) < 300
    for word in words:
        assert word in message


def test_a_voc_source_has_one_place(tiny_params) -> None:
    source = {"kind": "voc", "archive": "a.tar", "folder": "b"}
    params = tiny_params()
    params["datasets"]["voc"]["source"] = source
    with pytest.raises(ReclipError, match="`archive` or `folder`, not both"):
        validate(Params, params)


def test_settings_cannot_be_changed(tiny_params) -> None:
    params = validate(Params, tiny_params())
    with pytest.raises(ValueError, match="frozen"):
        params.rectify.lr = 1.0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "reclip init"),
        (b"a: [1\nb: 2\n", "not valid YAML at line"),
        (b"a: 1\nb: {c: 1}\na: 2\n", r"at line 3 \(key 'a' is given twice\)"),
        (b"runs:\n  x: {lr: 1}\n  x: {lr: 2}\n", r"at line 3 \(key 'x' is given twice\)"),
        (b"", "has no settings"),
        (b"- 1\n", "has no settings"),
        (b"\xff\xfe\x00", "params.yaml"),
    ],
)
def test_an_unreadable_file_is_one_sentence(tmp_path: Path, content, words) -> None:
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReclipError, match=words):
        load_params(path)


def test_a_folder_is_no_params_file(tmp_path: Path) -> None:
    with pytest.raises(ReclipError, match="Cannot read the settings file"):
        load_params(tmp_path)


def test_an_empty_path_is_not_taken_for_none(tiny_params) -> None:
    source = {"kind": "voc", "archive": "", "world": None, "train": None, "val": None}
    with pytest.raises(ReclipError, match=r"'datasets.voc.source.archive': string should have"):
        validate(Params, tiny_params({"datasets": {"voc": {"source": source}}}))


def test_settings_nested_without_end_are_one_sentence(tmp_path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("[" * 5000)
    with pytest.raises(ReclipError, match="nested too deeply|not valid YAML"):
        load_params(path)


def test_a_misspelt_environment_variable_is_refused(project, monkeypatch) -> None:
    load_params("params.yaml")
    monkeypatch.setenv("RECLIP_NOTES", "mine")
    load_params("params.yaml")
    monkeypatch.setenv("RECLIP_PARAM", "own.yaml")
    words = "unknown environment variable RECLIP_PARAM; did you mean 'RECLIP_PARAMS'"
    with pytest.raises(ReclipError, match=words):
        load_params("params.yaml")


def test_every_environment_variable_is_known() -> None:
    texts = [path.read_text(encoding="utf-8") for path in PACKAGE.glob("**/*.py")]
    assert set(re.findall(r"\bRECLIP_[A-Z_]+", "\n".join(texts))) == set(VARIABLES)


def test_a_row_is_compared_with_a_row_of_its_table(tiny_params) -> None:
    rows = [{"row": "a", "cells": {}}, {"row": "a + r", "over": ["a", "b"], "cells": {}}]
    with pytest.raises(ReclipError, match="row 'a \\+ r' is over 'b', which is no row"):
        validate(Params, tiny_params({"tables": {"t": {"title": "t", "rows": rows}}}))
