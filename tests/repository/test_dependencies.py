"""Every library that the package imports is declared, and every declared one is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import yaml

from support.paths import PACKAGE, ROOT

# Declared without an import in the package, and why.
NOT_IMPORTED = {
    "snakemake": "imported by the Snakefile",
}
OPTIONAL = {"onnx", "onnxruntime", "onnxscript"}
# conda-forge's name to PyPI's, where they differ.
CONDA = {
    "matplotlib-base": "matplotlib",
    "open-clip-torch": "open_clip_torch",
    "pytorch": "torch",
    "snakemake-minimal": "snakemake",
}


def name_of(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("-", "_")


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {name_of(requirement) for requirement in project["dependencies"]}


def imported() -> set[str]:
    modules = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.split(".")[0])
    of = packages_distributions()
    found = set()
    for module in modules - {"reclip", *sys.stdlib_module_names}:
        names = {name_of(name) for name in of[module]}  # some modules are in several packages
        found |= (names & declared()) or names
    return found


def test_what_is_imported_is_declared() -> None:
    assert imported() - declared() == OPTIONAL


def test_what_is_declared_is_used() -> None:
    assert declared() - imported() == NOT_IMPORTED.keys()


def test_the_conda_environment_has_the_same_libraries() -> None:
    text = (ROOT / "workflow/envs/reclip.yaml").read_text(encoding="utf-8")
    names = [line.split()[0] for line in yaml.safe_load(text)["dependencies"]]
    assert {name_of(CONDA.get(n, n)) for n in names} == {"python", *declared()} - {"dvc"}
