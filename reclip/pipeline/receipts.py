"""What made an output: settings, source code and inputs, recorded beside it as `receipt.json`.

A job's digest covers its resolved settings, the package modules that its stage uses, and the
digests of the jobs it reads from. So one comparison, recorded digest against wanted digest, says
whether an output is that of the settings on screen; modification times play no part, and the answer
survives clones, `dvc checkout`, reverts and touched files.
"""

from __future__ import annotations

import ast
import functools
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reclip.common.files import canonical_json, file_sha256, read_json, text_sha256, write_json

PACKAGE = Path(__file__).parents[1]

# These reach a result only through the settings, which the digest holds anyway, or through files
# whose checksum is known.
INFRASTRUCTURE = {
    "reclip",
    "reclip.cli.main",
    "reclip.config.classes",
    "reclip.tracking.compare",
    "reclip.config.compat",
    "reclip.config.models",
    "reclip.data.download.mirrors",
    "reclip.data.download.locate",
    "reclip.data.download.part",
    "reclip.data.download.transfer",
    "reclip.common.errors",
    "reclip.config.resolve",
    "reclip.pipeline.own_files",
    "reclip.common.hashing",
    "reclip.pipeline.job",
    "reclip.tracking.lineage",
    "reclip.tracking.store",
    "reclip.tracking.mlflow_view",
    "reclip.config.load",
    "reclip.pipeline.plan",
    "reclip.pipeline.receipts",
    "reclip.tracking.results",
    "reclip.tracking.recording",
    "reclip.tracking.records",
    "reclip.config.base",
    "reclip.config.sources",
    "reclip.tracking.sync",
    "reclip.tracking.server",
    "reclip.pipeline.recipes",
    "reclip.tracking.usage",
    "reclip.weights.identity",
}


def _source(module: str) -> Path | None:
    base = PACKAGE.parent.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "reclip" and _source(name)}


def _canonical(node: Any) -> Any:
    """A syntax tree without comments, layout, docstrings or empty fields.

    Empty fields are what Python versions differ in, so the digest is the same under each.
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
                fields[name] = _canonical(value)
        return [type(node).__name__, fields]
    if isinstance(node, list):
        return [_canonical(item) for item in node]
    return node if isinstance(node, (str, int, float, bool)) or node is None else repr(node)


@functools.cache
def _parsed(module: str) -> tuple[str, frozenset[str]]:
    path = _source(module)
    if path is None:
        raise ModuleNotFoundError(module)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    digest = text_sha256(json.dumps(_canonical(tree), sort_keys=True))
    return digest, frozenset(_imports(tree))


def modules_used(module: str) -> dict[str, str]:
    """`module` and every package module that it imports, directly or not, each with its digest."""
    digests: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        if name in digests or name in INFRASTRUCTURE:
            continue
        digests[name], imports = _parsed(name)
        todo += sorted(imports)
    return dict(sorted(digests.items()))


def code_digest(module: str) -> str:
    return text_sha256(json.dumps(modules_used(module)))


def write_receipt(path: Path, wanted: dict[str, Any], folder: Path, outputs: list[Path]) -> None:
    """The wanted settings, with size and sha256 of each output; written last, so it vouches."""
    listed = {
        os.path.relpath(output, folder): {
            "bytes": output.stat().st_size,
            "sha256": file_sha256(output),
        }
        for output in sorted(outputs)
    }
    write_json(path, {**wanted, "outputs": listed})


def read_receipt(path: Path) -> dict[str, Any] | None:
    """The receipt at `path`; None where there is none or it is not whole."""
    try:
        receipt = read_json(path)
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return receipt if isinstance(receipt, dict) and "digest" in receipt else None


def lost_outputs(receipt: dict[str, Any], folder: Path) -> str | None:
    """Outputs named in the receipt that are gone or of another size, in words."""
    missing, resized = [], []
    for name, facts in receipt.get("outputs", {}).items():
        try:
            if (folder / name).stat().st_size != facts["bytes"]:
                resized.append(name)
        except (FileNotFoundError, NotADirectoryError):
            missing.append(name)
    said = [f"output missing: {listed(missing)}"] if missing else []
    said += [f"output of another size: {listed(resized)}"] if resized else []
    return "; ".join(said) or None


def replaced_outputs(receipt: dict[str, Any], folder: Path, outputs: Iterable[Path]) -> str | None:
    """Those of `outputs` that are not what the receipt says, whatever their size, in words."""
    names = {os.path.relpath(path, folder): path for path in outputs if path.is_file()}
    recorded = receipt.get("outputs", {})
    replaced = [
        name
        for name, path in names.items()
        if name in recorded and file_sha256(path) != recorded[name]["sha256"]
    ]
    return f"output of another content: {listed(replaced)}" if replaced else None


ABSENT = "absent"  # a key that one side has not; None is a value


def differences(recorded: Any, wanted: Any, at: str = "") -> list[str]:
    """Each leaf that differs, as `key old → new`."""
    if isinstance(recorded, dict) and isinstance(wanted, dict):
        found = []
        for key in sorted(set(recorded) | set(wanted)):
            path = f"{at}.{key}" if at else key
            found += differences(recorded.get(key, ABSENT), wanted.get(key, ABSENT), path)
        return found
    return [] if recorded == wanted else [f"{at} {_brief(recorded)} → {_brief(wanted)}"]


def changes(recorded: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    """What is not as recorded of a job's own settings and code, in words; None if all is."""
    said = differences(recorded.get("settings", {}), wanted["settings"])
    was, now = recorded.get("modules", {}), wanted["modules"]
    for module in sorted(was.keys() | now.keys()):
        if was.get(module) != now.get(module):
            both = module in was and module in now
            how = "changed" if both else "is used now" if module in now else "is used no more"
            said.append(f"{_source_name(module)} {how}")
    return listed(said, "; ") or None


def _source_name(module: str) -> str:
    path = _source(module)
    return path.relative_to(PACKAGE.parent).as_posix() if path else module.replace(".", "/") + ".py"


def _brief(value: Any, limit: int = 60) -> str:
    text = str(value)
    return text if len(text) <= limit else text[:limit] + "…"


def listed(items: list[str], separator: str = ", ", most: int = 3) -> str:
    """The first few, and how many more there are."""
    more = [f"and {len(items) - most} more"] if len(items) > most else []
    return separator.join(items[:most] + more)


def digest_of(data: Any) -> str:
    return text_sha256(canonical_json(data))


def corrupted_outputs(receipt: dict[str, Any], folder: Path) -> list[str]:
    """Outputs whose checksum is not the recorded one."""
    listed = receipt.get("outputs", {}).items()
    return [name for name, facts in listed if file_sha256(folder / name) != facts["sha256"]]
