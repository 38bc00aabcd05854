"""The settings file and the project's folder may have any name, and no other key is overlooked."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from snakemake.cli import parse_config

from reclip.common.errors import ReclipError
from reclip.config import PARAMS
from reclip.config.load import settings_file
from reclip.pipeline.job import config_option
from reclip.pipeline.stages import RULES
from support.paths import ROOT
from support.project_copy import make_checkout

FOLDER = "a{b} {0} $HOME 'q' \"#%é;"
NAME = "my {settings}: $HOME 'a\" #1; touch made.yaml"
TARGET = "results/tiny/data/voc/receipt.json"


def test_a_settings_file_and_a_project_of_any_name(tmp_path: Path, tiny_params) -> None:
    """The command is the one that messages print, given to a shell."""
    (tmp_path / FOLDER).mkdir()
    checkout = make_checkout(tmp_path / FOLDER, tiny_params())
    (checkout.folder / "params.yaml").rename(checkout.folder / NAME)
    checkout.run("bash", "-c", f"snakemake {TARGET}{config_option(NAME)}")
    assert (checkout.folder / TARGET).is_file()
    assert not (checkout.folder / "made.yaml").exists()
    said = checkout.run("bash", "-c", f"snakemake -n {TARGET}{config_option(NAME)}")
    assert "Nothing to be done" in said


NAMES = ("own.yaml", "my own.yaml", "2024", "1e3", "no", "a: b", "#x", "[a]", "{a}.yaml", "'", '"',
         "\\", "é.yml", "-n.yaml", "~/a.yaml", "a'.yaml", "$(a)", "a\"b", " a ")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_snakemake_reads_the_printed_name_as_it_is(name: str) -> None:
    option, entry = shlex.split(config_option(name))
    assert (option, parse_config([entry])) == ("--config", {"params": name})
    assert settings_file(parse_config([entry])) == name


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"param": "own.yaml"},
            r"unknown key 'param' in .*; did you mean 'params'\?: settings are",
        ),
        ({"params": "own.yaml", "experiment": "x"}, "'experiment' .* `--config params=own.yaml`"),
        ({"params": "my own.yaml", "x": 1}, "`--config params='my own.yaml'`"),
        (dict.fromkeys("abcde"), "unknown keys 'a', 'b', 'c', and 2 more in"),
        ({"params": 2024}, "params=2024 names no settings file: give the path of a file"),
        ({"params": None}, "names no settings file"),
        ({"params": ["a"]}, "names no settings file"),
    ],
)
def test_a_key_besides_params_is_refused(config: dict, words: str) -> None:
    with pytest.raises(ReclipError, match=words):
        settings_file(config)


def test_without_a_key_the_default_is_meant() -> None:
    assert settings_file({}) == PARAMS
    assert settings_file({}, default="own.yaml") == "own.yaml"  # RECLIP_PARAMS


def test_snakemake_runs_nothing_where_the_settings_are_named_otherwise(checkout) -> None:
    checkout.write_params({**checkout.params(), "experiment": "other"})
    said = checkout.run("snakemake", "-n", "--configfile", "params.yaml", check=False)
    assert "Nothing" not in said and "Traceback" not in said and "rule " not in said
    assert "keys 'experiment', 'compute', 'clip', and" in said
    assert "named by `--config params=" in said and "params.yaml`" in said


def test_a_table_named_like_a_rule_is_refused_with_the_settings(tiny_plan) -> None:
    table = tiny_plan().params.model_dump()["tables"]["table4"]
    for name in (*sorted(RULES), "tiny_check"):
        with pytest.raises(ReclipError, match=f"'tables.{name}': .* rule: rename this table, for"):
            tiny_plan({"tables": {name: table}})
    tiny_plan({"tables": {"tiny_check": table}, "check": None})


def test_every_rule_is_known() -> None:
    texts = [p.read_text() for p in (ROOT / "workflow/rules").glob("*.smk")]
    text = "\n".join([(ROOT / "Snakefile").read_text(), *texts])
    named = re.findall(r"^(?:checkpoint|rule) (\w+):", text, re.MULTILINE)
    assert set(named) | set(re.findall(r"^use rule \w+ as (\w+)", text, re.MULTILINE)) == RULES
