"""A tiny experiment, and a project folder to run it in."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from reclip.config.load import validate
from reclip.config.params import Params
from reclip.pipeline.plan import Plan
from support.tiny_experiment import TINY, merged

# Before torch is there. Workers share the cores, and threads that wait for one another's turn cost
# more than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell starts what runs in its background deaf to Ctrl-C, which some tests press.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONG = ("workflow", "golden", "inference", "repository", "robustness", "tracking")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the folders with long modules first, or one worker would compute alone at the end."""
    folders = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(folders).parts[0] not in LONG)


@pytest.fixture(scope="session")
def tiny_params() -> Callable[..., dict[str, Any]]:
    """`tiny_params(changes)`: the tiny experiment as `params.yaml` would hold it, changed."""
    return lambda changes=None: merged(TINY, changes or {})


@pytest.fixture
def tiny_plan(tiny_params) -> Callable[..., Plan]:
    """`tiny_plan(changes)`: its plan."""
    return lambda changes=None: Plan(validate(Params, tiny_params(changes)))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_params) -> Path:
    """An empty project folder, made current, with the tiny experiment's `params.yaml`."""
    monkeypatch.chdir(tmp_path)
    text = yaml.safe_dump(tiny_params(), sort_keys=False)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    return tmp_path
