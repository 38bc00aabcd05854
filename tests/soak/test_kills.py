"""The tiny experiment, killed again and again, stage by stage: it ends with the same bytes.

Two cores, so that two seeds of a run compute side by side; one of them or both are killed.

`make soak`, or `RECLIP_SOAK=50 pytest tests/soak -n 0 -s` for 50 kills; RECLIP_SEED repeats one.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress

import psutil
import pytest

from reclip.common.files import file_sha256, read_json
from support.project_copy import Checkout, make_checkout

KILLS = int(os.environ.get("RECLIP_SOAK", "0"))
SEED = int(os.environ.get("RECLIP_SEED", "0"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
COMMAND = ["snakemake", "--cores", "2", "all", "tiny_check"]
STAGES = (
    "prepare", "embed-text", "cache-features", "hypothesise", "rectify", "pseudo-mask", "distill",
    "probe", "evaluate", "gather", "package", "tabulate", "plot", "check", "summarise",
)  # fmt: skip
SEEDS = {"seeds": {"rectify": [0, 1, 2], "distill": [0, 1], "probe": [0, 1]}}
WHOM = ("the session", "the session", "all jobs", "one job")

pytestmark = pytest.mark.skipif(not KILLS, reason="a soak: set RECLIP_SOAK to a number of kills")


@pytest.fixture(scope="module")
def start(tmp_path_factory, tiny_params) -> Checkout:
    """The experiment, nothing run yet; copied, so that edits meanwhile change nothing."""
    return make_checkout(tmp_path_factory.mktemp("start"), tiny_params(SEEDS))


@pytest.fixture(scope="module")
def finished(start, tmp_path_factory) -> Checkout:
    """The experiment after one run that nobody interrupted."""
    checkout = start.copy(tmp_path_factory.mktemp("finished") / "run")
    checkout.run(*COMMAND)
    return checkout


def results(checkout: Checkout) -> dict[str, str]:
    """The checksum of every file, hidden ones too: tables, metrics, weights, receipts."""
    root = checkout.folder / "results"
    # What is remembered of large files is of paths and times.
    files = [p for p in sorted(root.rglob("*")) if p.is_file() and p.name != ".sha256.json"]
    return {str(path.relative_to(root)): file_sha256(path) for path in files}


def seconds_of(checkout: Checkout, stage: str) -> float:
    """How long a stage's longest job ran, by Snakemake's records."""
    records = [read_json(p) for p in (checkout.folder / ".snakemake/metadata").iterdir()]
    rule = stage.replace("-", "_")
    return max(r["endtime"] - r["starttime"] for r in records if r["rule"] == rule)


class Started:
    """A run of Snakemake in a session of its own, whose jobs are forks of a fork server or not."""

    def __init__(self, checkout: Checkout, warm: bool) -> None:
        self.output = checkout.folder / "said.txt"
        with open(self.output, "w", encoding="utf-8") as stream:
            self.process = subprocess.Popen(
                COMMAND,
                cwd=checkout.folder,
                env={
                    **checkout.env,
                    "RECLIP_CHECKPOINT_SECONDS": "0",
                    "RECLIP_WARM": "1" if warm else "",
                },
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell starts what runs in its background deaf to SIGINT.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def members(self) -> list[psutil.Process]:
        """Every process of the session."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) == self.process.pid:
                    found.append(process)
        return found

    def computing(self) -> dict[psutil.Process, list[str]]:
        """The processes that compute now, each with its stage and options."""
        found = {}
        for process in self.members():
            with suppress(psutil.Error, ProcessLookupError):
                line = process.cmdline()
                if "reclip" in line and "-m" in line:
                    found[process] = line[line.index("reclip") + 1 :]
        return {process: line for process, line in found.items() if line and line[0] in STAGES}

    def wait_for(self, stages: set[str]) -> str | None:
        """The first of the stages to compute, of several the last, as late ones are short.

        None if the run ends without any.
        """
        while self.process.poll() is None:
            if running := stages.intersection(line[0] for line in self.computing().values()):
                return max(running, key=STAGES.index)
            time.sleep(0.01)
        assert self.process.returncode == 0, self.output.read_text(encoding="utf-8")
        return None

    def kill(self, sign: signal.Signals, whom: str) -> list[list[str]]:
        """The whole session, as a lost terminal does, or jobs alone, as want of memory does.

        whom: one of WHOM. Returns what was computing.
        """
        computing = self.computing()
        jobs_alone = whom != "the session" and bool(computing)
        victims = list(computing) if jobs_alone else self.members()
        for process in victims[:1] if jobs_alone and whom == "one job" else victims:
            with suppress(psutil.Error):
                process.send_signal(sign)
        try:
            # Snakemake lets the other jobs end, and all if the one to be killed had ended.
            self.process.wait(timeout=900 if jobs_alone else 60)
        except subprocess.TimeoutExpired:
            # Snakemake 9.27 waits for itself for ever if SIGTERM comes while it notes what a job
            # made: it is killed then, as by a scheduler.
            print(f"Snakemake outlives {sign.name}, and is killed", flush=True)
        finally:
            for process in self.members():
                with suppress(psutil.Error):
                    process.kill()
            self.process.wait()
        return sorted(computing.values(), key=lambda line: (STAGES.index(line[0]), line))


def side_by_side(lines: list[list[str]]) -> bool:
    """Whether two seeds of a run were in the same stage."""
    seeded = [tuple(line[: line.index("--seed")]) for line in lines if "--seed" in line]
    return len(set(seeded)) < len(seeded)


def test_killed_at_every_stage_it_ends_with_the_same_bytes(start, finished, tmp_path):
    draw = random.Random(SEED)
    expected = results(finished)
    hits: Counter[tuple[str, str]] = Counter()
    kills = sweep = pairs = 0
    while kills < KILLS:
        sweep += 1
        checkout = start.copy(tmp_path / f"sweep-{sweep}")
        warm = sweep % 2 == 0
        log = [f"seed {SEED}, sweep {sweep}{', warm' * warm}"]
        todo = set(STAGES)
        run = Started(checkout, warm)
        while stage := run.wait_for(todo if kills < KILLS else set()):
            todo.remove(stage)  # so that each is killed once
            time.sleep(draw.uniform(0, seconds_of(finished, stage)))
            sign, whom = draw.choice(SIGNALS), draw.choice(WHOM)
            killed = run.kill(sign, whom)
            names = [" ".join(line) for line in killed] or ["between stages"]
            log.append(f"{sign.name} to {whom} in {', '.join(names)}")
            print(log[-1], flush=True)
            if run.process.returncode:  # else it had ended before the signal came
                stages = {line[0] for line in killed} or {"between stages"}
                hits.update((stage, sign.name) for stage in stages)
                kills += 1
                pairs += side_by_side(killed)
            if run.process.returncode == -signal.SIGKILL:
                checkout.run("snakemake", "--unlock")  # it could not take its lock away itself
            run = Started(checkout, warm)
        found = results(checkout)
        assert found.keys() == expected.keys(), log
        assert {k for k in found if found[k] != expected[k]} == set(), log
        print(
            f"{log[0]}: {kills} kills, {pairs} of them in two seeds of a run side by side, "
            f"the same {len(found)} files",
            flush=True,
        )
    for stage in (*STAGES, "between stages"):
        counts = ", ".join(f"{hits[stage, sign.name]} {sign.name}" for sign in SIGNALS)
        print(f"{stage}: {counts}")
    missed = set(STAGES) - {stage for stage, _ in hits}
    many = kills >= 2 * len(STAGES)
    assert not (many and missed), f"never hit: {missed}"
    assert pairs or not many, "no two seeds of a run computed side by side when a kill came"
