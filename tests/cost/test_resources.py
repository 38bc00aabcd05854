"""What jobs ask for on a machine, and the file that keeps their costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from reclip.cli.main import cli
from reclip.common.errors import ReclipError
from reclip.config.load import validate
from reclip.config.params import Params
from reclip.cost import resources as asked
from reclip.cost.facts import Facts
from reclip.cost.machines import GPUS, Work
from reclip.cost.memory import NEED_OF
from reclip.cost.need import Need
from reclip.cost.resources import Cost, Resources, resources
from reclip.cost.stage_work import WORK_OF
from reclip.pipeline.plan import Plan
from reclip.presets import preset_text


@pytest.fixture(scope="module")
def paper() -> Callable[..., Resources]:
    """`paper(stage, id, machine)`: what a job of the paper's experiments asks for."""
    params = yaml.safe_load(preset_text("paper"))
    plan = Plan(validate(Params, params))
    facts = Facts(plan, use_index=False)

    def of(stage: str, id: str, machine: str) -> Resources:
        work = WORK_OF[stage](facts, id) if stage in WORK_OF else Work()
        costs = {f"{stage} {id}": Cost(work, NEED_OF[stage](facts, id))}
        return resources(plan, plan.jobs_of(stage, id)[0], costs, machine)

    return of


def test_jobs_of_the_paper_take_hours_and_gigabytes(paper) -> None:
    student = paper("distill", "ade-distill", "h100")
    assert 12 * 60 < student.runtime < 48 * 60
    assert 50_000 < student.gpu_memory_mb < 80_000  # of an H100's 80 GB
    assert 5_000 < student.mem_mb < 15_000
    features = paper("cache-features", "ade", "h100")
    assert 30 < features.runtime < 120 and features.mem_mb < 10_000
    assert paper("tabulate", "table1", "h100") == Resources(0, 500, 0, 16, 1)
    archive = paper("fetch", "voc", "cpu")
    assert archive.gpu == 0 and archive.runtime > 15 + 2 * 15  # two gigabytes at 2 MB/s


def test_a_slower_machine_takes_longer_and_a_cpu_all_memory(paper) -> None:
    times = {gpu: paper("distill", "voc-distill-mask", gpu).runtime for gpu in GPUS}
    assert sorted(times, key=times.get) == ["h100", "a100", "4090", "3090", "v100", "t4"]
    on_cpu = paper("distill", "voc-distill-mask", "cpu")
    assert on_cpu.runtime > 100 * times["h100"]
    assert on_cpu.gpu == on_cpu.gpu_memory_mb == 0
    assert on_cpu.mem_mb > paper("distill", "voc-distill-mask", "h100").mem_mb


def test_jobs_that_may_compute_on_a_gpu_ask_for_one(tiny_plan) -> None:
    plan = tiny_plan({"compute": {"device": "auto"}})
    on_gpu = {job.stage for job in plan.jobs if asked.gpus(job, "a100")}
    assert on_gpu == {
        "embed-text", "cache-features", "rectify", "pseudo-mask", "distill", "probe", "evaluate",
        "plot", "summarise",
    }  # fmt: skip
    assert not any(asked.gpus(job, "cpu") for job in plan.jobs)
    assert not any(asked.gpus(job, "a100") for job in tiny_plan().jobs)  # compute.device: cpu


def test_processes_share_the_images_and_each_has_its_memory(tiny_plan) -> None:
    cost = Cost(Work(conv=1e17, steps=1), Need(1e9))
    found = {}
    for number in (1, 4):
        plan = tiny_plan({"compute": {"gpus": number, "device": "cuda", "threads": 2}})
        job = plan.job("distill", "distill", 0)
        found[number] = resources(plan, job, {"distill distill": cost}, "h100")
        assert asked.gpus(plan.job("evaluate", "distill", 0)) == 1
    one, four = found[1], found[4]
    assert (one.gpu, four.gpu) == (1, 4) and (one.threads, four.threads) == (2, 8)
    assert four.mem_mb - 300 == pytest.approx(4 * (one.mem_mb - 300), rel=0.02)
    assert four.gpu_memory_mb == one.gpu_memory_mb
    assert (four.runtime - 15) == pytest.approx((one.runtime - 15) / 4, abs=1)


def test_threads_that_read_ahead_need_cores_and_hide_the_reading(tiny_plan) -> None:
    plan = tiny_plan({"compute": {"threads": 2, "loaders": 6, "device": "cuda"}})
    assert [asked.threads(plan, stage) for stage in ("distill", "evaluate")] == [8, 2]
    cost = Cost(Work(conv=1e12, megapixels=1e5), Need(1e9))
    times = {}
    for loaders in (0, 6):
        plan = tiny_plan({"compute": {"loaders": loaders, "device": "cuda"}})
        job = plan.job("distill", "distill", 0)
        times[loaders] = resources(plan, job, {"distill distill": cost}, "h100").runtime
    assert times[6] < times[0]


def test_costs_are_computed_once_and_again_after_a_change(project: Path, monkeypatch) -> None:
    plan = Plan.load()
    assert asked.costs(plan) is None
    found = asked.compute_costs(plan)
    assert set(found) == {f"{job.stage} {job.id}" for job in plan.jobs}
    assert asked.costs(plan) == found
    with monkeypatch.context() as patch:
        patch.setattr("reclip.cost.stage_work.Facts", lambda *_: 1 / 0)
        assert asked.compute_costs(plan) == found

    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("batch: 4", "batch: 5"), encoding="utf-8")
    assert asked.costs(Plan.load()) is None
    Path("params.yaml").write_text(text, encoding="utf-8")
    code = project / "reclip"
    (code / "cost").mkdir(parents=True)
    (code / "cost" / "memory.py").write_text("MORE = 1", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(asked, "PACKAGE", code)
        assert asked.costs(plan) is None
    assert asked.costs(plan) == found
    for damaged in ("", "{}", "[]", '{"digest": 1, "jobs": {}}'):
        asked.costs_file(plan).write_text(damaged, encoding="utf-8")
        assert asked.costs(plan) is None


def test_the_command_shows_every_job(project: Path) -> None:
    def run(*arguments: str) -> str:
        return CliRunner().invoke(cli, ["plan", *arguments]).output

    text = run("--resources", "--machine", "a100")
    header, *lines = text.splitlines()
    assert header.split()[:5] == ["stage", "id", "jobs", "gpu", "mem_mb"]
    plan = Plan.load()
    assert len(lines) == len({(job.stage, job.id) for job in plan.jobs})
    (rectify,) = (line.split() for line in lines if line.split()[0] == "rectify")
    assert rectify[:3] == ["rectify", "ref-pe", "2"]
    assert "--machine needs it" in run("--machine", "a100")
    assert "without --cost" in run("--resources", "--cost")


def test_a_machine_is_one_of_those_with_known_rates() -> None:
    for name in ("cpu", *GPUS):
        asked.require_machine(name)
    with pytest.raises(ReclipError, match="unknown machine 'h10'; did you mean 'h100'"):
        asked.require_machine("h10")
