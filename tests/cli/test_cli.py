"""The command line: quick to answer, one subcommand a stage, and errors a person can act on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reclip.pipeline.stages import STAGES

HEAVY = ("torch", "mlflow", "pandas", "numpy", "scipy", "open_clip", "timm", "matplotlib", "PIL")


def reclip(*arguments: str, before: str = "") -> subprocess.CompletedProcess:
    """The command in a process of its own, as a shell would run it."""
    code = f"{before}\nimport sys\nsys.argv[0] = 'reclip'\nfrom reclip.cli.main import main\nmain()"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RECLIP", "MLFLOW"))}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**environment, "OMP_NUM_THREADS": "1"},
        check=False,
    )


REPORT = f"""
import atexit, sys
heavy = {HEAVY!r}
atexit.register(lambda: print("imported:", [m for m in heavy if m in sys.modules]))
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["rectify", "--help"], ["--version"], ["status"], ["plan"]]
)
def test_looking_at_things_imports_nothing_heavy(project: Path, arguments: list[str]) -> None:
    done = reclip(*arguments, before=REPORT)
    assert done.returncode == 0, done.stderr
    assert "imported: []" in done.stdout


def test_every_stage_is_a_command() -> None:
    done = reclip("--help")
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert listed >= set(STAGES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rectify", "--run", "ref-ep"], "no run 'ref-ep' for rectify; did you mean 'ref-pe'?"),
        (["fetch", "--dataset", "voc"], "no dataset 'voc' for fetch; there are none"),
        (["status", "--params", "nowhere.yaml"], "no settings file 'nowhere.yaml'"),
        (
            ["rectify", "--run", "ref-pe", "--seed", "0"],
            "rectify ref-pe seed 0 needs prepare voc, which is stale",
        ),
        (["init", "mini"], "'params.yaml' already exists"),
        (["init", "voc", "--output", "x.yaml", "--archive", "no.tar"], "no archive 'no.tar'"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_1(project: Path, arguments, words) -> None:
    done = reclip(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and words in line
    log = (project / "logs" / "reclip-errors.log").read_text(encoding="utf-8")
    assert "Traceback" in log and words in log
    assert not (project / "x.yaml").exists()


def test_a_mistake_is_said_even_where_no_log_can_be_written(project: Path) -> None:
    (project / "logs").write_text("a file in the folder's place")
    done = reclip("status", "--params", "nowhere.yaml")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no settings file") and "traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["rectify"], ["rectfy"], ["init", "vco"], ["init", "voc", "--limit", "0"]]
)
def test_wrong_usage_is_exit_code_2(project: Path, arguments: list[str]) -> None:
    done = reclip(*arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_stage_runs_once_and_again_when_forced(project: Path) -> None:
    first = reclip("prepare", "--dataset", "voc")
    assert first.returncode == 0, first.stderr
    assert "prepare voc: done in" in first.stdout
    receipt = project / "results/tiny/data/voc/receipt.json"
    before = receipt.read_bytes()
    assert reclip("prepare", "--dataset", "voc").stdout == "prepare voc: up to date\n"
    assert "done in" in reclip("prepare", "--dataset", "voc", "--force").stdout
    assert receipt.read_bytes() == before  # the same settings, the same bytes


def test_a_stage_that_fails_vouches_for_nothing(project: Path) -> None:
    broken = "import reclip.data.prepare as p\np.draw_scene = lambda *_: 1 / 0"
    reclip("prepare", "--dataset", "voc")
    done = reclip("prepare", "--dataset", "voc", "--force", before=broken)
    assert done.returncode != 0 and "ZeroDivisionError" in done.stderr
    assert not (project / "results/tiny/data/voc/receipt.json").exists()


def test_status_says_why(project: Path) -> None:
    reclip("prepare", "--dataset", "voc")
    lines = reclip("status").stdout.splitlines()
    assert "fresh  prepare voc" in lines
    assert "stale  rectify ref-pe seed 0: not made yet" in lines
    words = [line.split()[0] for line in lines[:-1]]
    assert lines[-1] == f"{words.count('stale')} stale, 1 fresh, 2 aside"
    text = (project / "params.yaml").read_text().replace("val: 4", "val: 5")
    (project / "params.yaml").write_text(text)
    assert "stale  prepare voc: source.val 4 → 5" in reclip("status").stdout


def test_status_verifies_checksums_on_demand(project: Path) -> None:
    reclip("prepare", "--dataset", "voc")
    path = project / "results/tiny/data/voc/val.csv"
    path.write_text(path.read_text().swapcase())
    assert "fresh  prepare voc" in reclip("status").stdout.splitlines()
    verified = reclip("status", "--verify").stdout
    assert "stale  prepare voc: changed on disk: val.csv" in verified


def test_params_may_be_named_by_the_environment(project: Path) -> None:
    (project / "params.yaml").rename(project / "other.yaml")
    before = "import os\nos.environ['RECLIP_PARAMS'] = 'other.yaml'"
    assert reclip("plan", before=before).returncode == 0
    assert (project / "results/tiny/plan/rectify/ref-pe/seed-0.json").is_file()
