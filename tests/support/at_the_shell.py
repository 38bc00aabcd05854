"""A project in which a person runs `reclip`, and what must hold when a command refuses its input.

The command runs in this process, through the same `main` as in a shell: torch is loaded once.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from reclip.cli.main import main
from reclip.pipeline.receipts import corrupted_outputs
from reclip.pipeline.stages import STAGES
from support.tiny_experiment import TINY, merged
from support.tiny_voc import make_voc

LOG = Path("logs/reclip-errors.log")
TO_FEATURES = ("fetch", "prepare", "embed-text", "cache-features")
TO_METRICS = (*TO_FEATURES, "hypothesise", "evaluate", "gather")


def small(source: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Params of one run on one dataset, "voc"; `changes` to sections."""
    dataset = {"voc": {"source": source}}
    runs = {"query": {"dataset": "voc", "method": "query"}}
    own = {"datasets": None, "runs": None, "tables": None, "check": None}
    params = merged(TINY, own) | {"datasets": dataset, "runs": runs}
    return merged(params, changes)


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def reclip(*arguments: str) -> Said:
    """Run a command; what `main` lets pass would be a traceback in a shell, and is one here."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv, sys.argv = sys.argv, ["reclip", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = argv
    return Said(code, out.getvalue(), err.getvalue())


class Project:
    """The current folder as a project; `params` is what its params.yaml holds."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.results = Path("results") / params["experiment"]
        self.write()

    def write(self) -> None:
        text = yaml.safe_dump(self.params, sort_keys=False)
        Path("params.yaml").write_text(text, encoding="utf-8")

    def run(self, stage: str, *options: str, id: str | None = None) -> Said:
        """A stage on the only dataset, or the first seed of the only run; forced, as after a
        changed file."""
        names = STAGES[stage].names
        id = id or next(iter(self.params[f"{names}s"]))
        if STAGES[stage].kind == "seed" and (seeds := self._seeds(id)):
            options = ("--seed", f"{seeds[0]}", *options)
        return reclip(stage, f"--{names}", id, "--force", *options)

    def _seeds(self, run: str) -> list[int]:
        given = self.params["runs"][run]
        return given.get("seeds") or self.params["seeds"].get(given["method"], [])

    def change(self, params: dict[str, Any]) -> None:
        self.params = params
        self.write()

    def succeed(self, *stages: str) -> None:
        for stage in stages:
            said = self.run(stage)
            assert said.code == 0 and not said.err, (stage, said)
        assert not list(self.partials())

    def refuse(self, stage: str, *words: str, **options: Any) -> set[Path]:
        """The stage ends with one sentence that holds all `words`, and nothing is lost by it.

        Returns what changed all the same: the failed job's own output, for which nothing vouches
        any more.
        """
        before, logged = self.files(), LOG.stat().st_size if LOG.exists() else 0
        line = one_sentence(self.run(stage, **options), logged)
        for word in words:
            assert word in line, (word, line)
        after = self.files()
        changed = {path for path, content in before.items() if after.get(path) != content}
        for path in changed:
            folder = next(f for f in path.parents if f / "receipt.json" in before)
            assert folder / "receipt.json" not in after, path
        self.check_whole()
        return changed

    def mended(self, before: dict[Path, bytes], *stages: str) -> None:
        """The same commands succeed, and lead to the same bytes."""
        self.succeed(*stages)
        assert self.files() == before

    def check_whole(self) -> None:
        """No half-written file is about, and what a receipt vouches for is what it was."""
        assert not list(self.partials())
        for path in self.results.rglob("receipt.json"):
            assert corrupted_outputs(path) == [], path

    def partials(self) -> Iterator[Path]:
        return Path(".").rglob("*.partial*")

    def files(self) -> dict[Path, bytes]:
        """All results; what the settings want is no result."""
        found = (path for path in self.results.rglob("*") if path.is_file())
        plan = self.results / "plan"
        return {path: path.read_bytes() for path in found if plan not in path.parents}


def finished(folder: Path, params: dict[str, Any], stages: tuple[str, ...]) -> Path:
    """Run `stages` in `folder`, on its archive `voc.tar`; return the folder."""
    with contextlib.chdir(folder):
        make_voc(folder / "made")
        shutil.make_archive("voc", "tar", "made")
        Project(params).succeed(*stages)
    return folder


@contextlib.contextmanager
def copy_of(project: Path, folder: Path, source: dict[str, Any]) -> Iterator[Project]:
    """A project's copy in `folder`, made current."""
    shutil.copytree(project, folder)
    with contextlib.chdir(folder):
        yield Project(small(source))


def one_sentence(said: Said, logged: int = 0) -> str:
    """The only line that a person sees, but for why the job was begun.

    The traceback is in the log, after `logged` bytes.
    """
    assert said.code == 1, said
    (line,) = said.err.splitlines()
    assert line.startswith("error: ") and len(said.out.splitlines()) <= 1
    assert f" (traceback in {LOG})" in line
    text = LOG.read_text(encoding="utf-8")[logged:]
    assert "Traceback" in text
    return line
