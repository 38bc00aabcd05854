"""Digests of the source code that a stage uses: an edited module makes its results stale."""

from __future__ import annotations

import ast
import functools
import json
from pathlib import Path
from typing import Any

from reclip.common.files import text_sha256

PACKAGE = Path(__file__).parents[1]

# A change in these changes no result: what they pass on is in the settings or has a checksum.
NOT_COUNTED = (
    "reclip.cli",
    "reclip.common.errors",
    "reclip.common.git",
    "reclip.common.hashing",
    "reclip.common.text",
    "reclip.config",
    "reclip.cost",
    "reclip.data.download.locate",
    "reclip.data.download.mirrors",
    "reclip.data.download.transfer",
    "reclip.device.gpus",
    "reclip.pipeline",
    "reclip.tracking",
    "reclip.versioning",
    "reclip.weights.identity",
)
BESIDE = (".j2", ".css", ".js")  # templates, styles and scripts of a module
COUNTED = ("reclip.pipeline.artifacts",)  # file names that one stage writes and another reads


def counts(module: str) -> bool:
    """Return whether the source of `module` is part of the digest."""
    if module == "reclip":
        return False
    return module in COUNTED or not any(
        module == prefix or module.startswith(prefix + ".") for prefix in NOT_COUNTED
    )


def source_file(module: str) -> Path | None:
    """Return the file of a module or package of reclip; None if there is none."""
    base = PACKAGE.parent.joinpath(*module.split("."))
    files = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in files if path.is_file()), None)


def source_name(module: str) -> str:
    """Return the path of a module as people write it: `reclip/rectify/loss.py`."""
    path = source_file(module)
    return path.relative_to(PACKAGE.parent).as_posix() if path else module.replace(".", "/") + ".py"


@functools.cache
def modules_used(module: str) -> dict[str, str]:
    """Return `module` and every counted module it imports, directly or not, with its digest."""
    digests: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in digests and counts(name):
            digests[name], imports = _parsed(name)
            todo += sorted(imports)
    return dict(sorted(digests.items()))


@functools.cache
def _parsed(module: str) -> tuple[str, frozenset[str]]:
    """Return the digest of a module and of its files, and the modules of reclip it imports."""
    path = source_file(module)
    if path is None:
        raise ModuleNotFoundError(module)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    text = json.dumps(canonical(tree), sort_keys=True)
    for other in sorted(path.parent.glob(f"{path.stem}.*")):  # card.md.j2 of card.py
        if other.suffix in BESIDE:
            text += other.read_text(encoding="utf-8")
    digest = text_sha256(text)
    return digest, frozenset(_imports(tree))


def _imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "reclip" and source_file(name)}


def canonical(node: Any) -> Any:
    """Return a syntax tree as JSON types, without comments, layout, docstrings or empty fields.

    Python versions differ in which empty fields they have; without them the digest is the same.
    """
    if isinstance(node, ast.AST):
        fields = {}
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(value, list) and value:
                first = value[0]
                constant = first.value if isinstance(first, ast.Expr) else None
                if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                    value = value[1:]
            if value not in (None, []):
                fields[name] = canonical(value)
        return [type(node).__name__, fields]
    if isinstance(node, list):
        return [canonical(item) for item in node]
    return node if isinstance(node, (str, int, float, bool)) or node is None else repr(node)
