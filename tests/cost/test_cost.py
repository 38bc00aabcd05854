"""`reclip plan --cost`: the costs of jobs, compared with what the jobs compute and write."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from reclip.cli.main import cli
from reclip.cli.readme import BEGIN, COST_BEGIN, COST_END, END, between, paper_cost, with_tables
from reclip.cli.stages import run_stage
from reclip.common.errors import ReclipError
from reclip.config.load import validate
from reclip.config.params import Params
from reclip.cost import calibrate, flops, machines
from reclip.cost.facts import Facts, cells
from reclip.cost.machines import GPUS, PREFETCHING, RESIZE_FLOPS, TRAINING, Rates, Work, seconds
from reclip.cost.report import (
    amount,
    cost_markdown,
    cost_text,
    hours,
    job_costs,
    summary,
)
from reclip.cost.stage_work import WORK_OF
from reclip.pipeline.plan import Plan
from reclip.pipeline.receipts import recorded_outputs

RATES = Rates(
    matmul=10,
    conv=20,
    resize=5,
    operations=machines.STEP_OPERATIONS,
    megapixels=2,
    read=4,
    write=8,
)
REAL = {"voc": None, "real": {"source": {"kind": "voc"}}}
RUNS = {name: {"dataset": "real"} for name in ("query", "ref-pe", "distill", "probe")}


@pytest.fixture
def real_plan(tiny_plan: Callable[..., Plan]) -> Callable[..., Plan]:
    """`real_plan(changes)`: the tiny experiment on VOC's photos, none of which exists here."""

    def make(changes: dict[str, Any] | None = None) -> Plan:
        real = {"datasets": REAL, "runs": RUNS, "tables": None, "check": None}
        return tiny_plan({**real, **(changes or {})})

    return make


def work_of(plan: Plan, stage: str, id: str, use_index: bool = True) -> Work:
    """Return the work of one job: that of a run's first seed."""
    costs = job_costs(Facts(plan, use_index)).groupby(["stage", "id"])["work"].first()
    return costs[stage, id]


# The work of the jobs.


def test_every_job_has_its_cost_in_order(tiny_plan: Callable[..., Plan]) -> None:
    plan = tiny_plan()
    costs = job_costs(Facts(plan))
    jobs = [(cost.stage, cost.id, cost.seed) for cost in costs.itertuples()]
    assert jobs == [(job.stage, job.id, job.seed) for job in plan.jobs]
    trainings = costs[costs["trainings"] > 0].groupby("stage", sort=False)["trainings"].sum()
    assert trainings.to_dict() == {"rectify": 2, "distill": 1, "probe": 1}


def test_costs_need_neither_data_nor_weights(real_plan: Callable[..., Plan]) -> None:
    plan = real_plan(
        {
            "clip": {"model": "ViT-B-16", "checkpoint": "absent.pt"},
            "distill": {"pretrained": False, "checkpoint": "absent.pth"},
        }
    )
    with pytest.raises(ReclipError, match=r"absent\.pt"):
        plan.job("rectify", "ref-pe", 0)
    facts = Facts(plan)
    assert [facts.census["real"].photos(split) for split in ("train", "val")] == [1464, 1449]
    assert all(cost.work.flops > 0 for cost in job_costs(facts).itertuples() if cost.trainings)


def test_a_folder_takes_no_disk_and_a_limit_is_applied(real_plan) -> None:
    source = {"kind": "voc", "folder": "photos", "limit": 10}
    plan = real_plan({"datasets": {"voc": None, "real": {"source": source}}})
    assert work_of(plan, "fetch", "real") == Work()
    assert Facts(plan).census["real"].photos("val") == 10
    assert work_of(real_plan(), "fetch", "real").written == 2 * 1_999_639_040
    source = {"kind": "voc", "archive": "voc.tar"}
    plan = real_plan({"datasets": {"voc": None, "real": {"source": source}}})
    assert work_of(plan, "fetch", "real").written == 1_999_639_040


def test_a_cache_of_float32_is_twice_as_large(real_plan: Callable[..., Plan]) -> None:
    half, full = (
        work_of(
            real_plan({"clip": {"model": "ViT-B-16", "cache_dtype": dtype}}),
            "cache-features",
            "real",
        )
        for dtype in ("float16", "float32")
    )
    assert full.written == pytest.approx(2 * half.written, rel=0.01)
    assert full.matmul == half.matmul


def test_each_sliding_window_is_counted(real_plan: Callable[..., Plan]) -> None:
    def plan(**image: Any) -> Plan:
        # 336 x 448 in windows of 224 every 112: two rows of three.
        return real_plan({"clip": {"model": "ViT-B-16"}, "image": {"short_side": 336, **image}})

    whole, slide = plan(), plan(protocol="slide")
    assert [len(p.windows) for p in Facts(slide).photos("real", "val")] == [6]
    one = cells((224, 224), 16)
    photos = 1464 + 1449
    views = 2 * 1464 * Facts(whole).view_cells("real")
    token = Facts(whole).token
    cached = work_of(slide, "cache-features", "real")
    vectors_and_cells = photos * 4 * 512 + 2 * 1464 * 4
    assert cached.written == (6 * one * photos + views) * token + vectors_and_cells
    # The hypotheses still need each image whole.
    windows = photos * 6 * flops.dense("ViT-B-16", one, mlp=True)
    assert cached.matmul > windows.matmul + work_of(whole, "cache-features", "real").matmul / 2
    assert work_of(slide, "evaluate", "distill").conv > work_of(whole, "evaluate", "distill").conv


def test_windows_of_hypotheses_take_most_of_the_time_and_little_disk(real_plan) -> None:
    def work(stage: str, **hypotheses: Any) -> Work:
        changes = {"clip": {"model": "ViT-B-16"}, "hypotheses": hypotheses}
        return work_of(real_plan(changes), stage, "real")

    # 375 x 500 in windows of 56 every 28: 12 rows of 16.
    photos, windows = 1464 + 1449, 12 * 16
    whole, on_windows = work("cache-features"), work("cache-features", image="windows")
    passes = photos * windows * flops.image_embedding("ViT-B-16").matmul
    assert on_windows.matmul == pytest.approx(passes + whole.matmul, rel=0.001)
    assert passes > 10 * whole.matmul
    assert on_windows.written - whole.written == photos * (windows - 1) * 4 * 512
    assert on_windows.written < 1.5 * whole.written
    assert on_windows.calls - whole.calls == pytest.approx(photos * windows / 20)
    halved = work("cache-features", image="windows", stride=56)
    assert halved.matmul < on_windows.matmul / 3
    assert work("hypothesise", image="windows").read == windows * work("hypothesise").read


def test_pamr_is_counted_for_clip_alone(real_plan: Callable[..., Plan]) -> None:
    asked = {"pamr": 10, "pamr_dilations": [8, 16]}
    plain, refined = real_plan(), real_plan({"evaluate": asked, "pseudo_mask": asked})
    pixels = {
        split: sum(p.number * math.prod(p.size) for p in Facts(plain).photos("real", split))
        for split in ("train", "val")
    }
    for stage, split in (("evaluate", "val"), ("pseudo-mask", "train")):
        less, more = (work_of(plan, stage, "ref-pe") for plan in (plain, refined))
        # Each class of each pixel meets 16 neighbours 10 times, in multiply-adds of 2 FLOPs.
        assert more.flops - less.flops == pytest.approx(2 * 16 * 10 * 20 * pixels[split])
        # The photos are read again, here at their own size.
        assert more.megapixels - less.megapixels == pytest.approx(pixels[split] / 1e6)
    assert work_of(plain, "evaluate", "distill") == work_of(refined, "evaluate", "distill")


def test_disabled_parts_of_a_run_cost_nothing(real_plan: Callable[..., Plan]) -> None:
    def rectify(**settings: Any) -> Work:
        plan = real_plan({"rectify": settings, "distill": {"head": "query"}})
        return work_of(plan, "rectify", "ref-pe")

    assert rectify(positional=False).conv == 0 < rectify().conv
    assert rectify(positional=False).matmul == rectify().matmul
    assert rectify(reference=False).matmul < rectify().matmul
    assert rectify(learn_query=True).matmul > rectify().matmul

    def distill(**settings: Any) -> Work:
        return work_of(real_plan({"distill": settings}), "distill", "distill")

    assert (
        distill(alpha=0).resized < distill().resized < distill(feature_resolution="image").resized
    )
    assert distill(beta=0).matmul == 0 < distill().matmul


def test_each_seed_costs_the_same_and_only_teachers_write_masks(tiny_plan) -> None:
    def works(seeds: int, stage: str) -> list[Work]:
        changes = {"seeds": {"rectify": list(range(seeds))}, "check": None}
        costs = job_costs(Facts(tiny_plan(changes)))
        return costs[costs["stage"] == stage]["work"].to_list()

    assert works(3, "rectify") == 3 * works(1, "rectify")
    assert works(3, "pseudo-mask") == works(1, "pseudo-mask")


def test_every_stage_that_trains_or_reads_ahead_has_its_work() -> None:
    assert set(TRAINING) < set(PREFETCHING) <= set(WORK_OF)


# The same, compared with real stages.


class Finished(NamedTuple):
    """A finished experiment: its plan, and the FLOPs that PyTorch counted by stage, id and seed."""

    plan: Plan
    counted: dict[tuple[str, str, int | None], float]


def run_and_count(params: dict[str, Any], stages: Collection[str]) -> Finished:
    """Run the jobs of `stages` in the current folder and count their FLOPs."""
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    plan, counted = Plan.load("params.yaml"), {}
    for job in plan.jobs:
        if job.stage in stages:
            with pytest.MonkeyPatch.context() as patch, FlopCounterMode(display=False) as counter:
                # The costs count upsampled values, also where products of matrices make them.
                patch.setattr("reclip.rectify.class_map._by_leaders", lambda *_: False)
                with sdpa_kernel(SDPBackend.MATH):
                    run_stage(plan, job.stage, job.id, job.seed, force=False)
            counted[job.stage, job.id, job.seed] = counter.get_total_flops()
    return Finished(plan, counted)


def assert_counted(finished: Finished) -> None:
    costs = job_costs(Facts(finished.plan)).itertuples()
    works = {(cost.stage, cost.id, cost.seed): cost.work for cost in costs}
    for job, counted in finished.counted.items():
        if job[0] not in WORK_OF:
            continue
        # The costs omit the teacher's positional logits, which a student computes once.
        assert works[job].matmul + works[job].conv == pytest.approx(counted, rel=1e-3), job


@pytest.fixture(autouse=True, scope="module")
def plain_attention() -> Iterator[None]:
    """Disable PyTorch's fused attention, which it cannot count; the arithmetic is the same."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_params) -> Iterator[Finished]:
    """The tiny experiment after all its stages but tables and figures, in the current folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        yield run_and_count(tiny_params({"views": {"crop": 72}}), {*WORK_OF, "gather"})


def test_flops_equal_those_of_the_stages(finished: Finished) -> None:
    assert len(finished.counted) == 20
    assert_counted(finished)


@pytest.mark.parametrize(
    "changes",
    [
        {"hypotheses": {"image": "centre_crop"}, "rectify": {"class_slots": "official"}},
        {"image": {"protocol": "slide", "window": 48, "stride": 24}},
        {"hypotheses": {"image": "windows", "window": 24, "stride": 12}},
        {"rectify": {"learn_query": True, "positional_channels": "one"}, "clip": {"mlp": False}},
        {"rectify": {"reference": False}, "distill": {"head": "query"}},
        {"rectify": {"model": "reclip++"}, "distill": {"head": "query"}},
        {
            "rectify": {"model": "reclip++", "learn_query": True},
            "distill": {"head": "classifier"},
        },
    ],
)
def test_flops_of_other_settings(changes, tmp_path, monkeypatch, tiny_params) -> None:
    monkeypatch.chdir(tmp_path)
    stages = ("prepare", "embed-text", "cache-features", "hypothesise", "rectify", "pseudo-mask")
    assert_counted(run_and_count(tiny_params(changes), stages))


def test_disk_equals_the_outputs_of_the_stages(finished: Finished) -> None:
    small = 3000  # headers of files, the manifest
    for cost in job_costs(Facts(finished.plan)).itertuples():
        if cost.stage in WORK_OF:
            outputs = recorded_outputs(finished.plan.job(cost.stage, cost.id, cost.seed))
            size = sum(path.stat().st_size for path in outputs)
            assert cost.work.written == pytest.approx(size, rel=0.06, abs=small), cost


def test_disk_equals_the_outputs_with_windows(tmp_path, monkeypatch, tiny_params) -> None:
    monkeypatch.chdir(tmp_path)
    changes = {"hypotheses": {"image": "windows", "window": 12, "stride": 3}, "views": {"count": 1}}
    ran = run_and_count(tiny_params(changes), ("prepare", "embed-text", "cache-features"))
    outputs = recorded_outputs(ran.plan.job("cache-features", "voc"))
    vectors = sum(path.stat().st_size for path in outputs if path.name == "global.npy")
    size = sum(path.stat().st_size for path in outputs)
    assert vectors > size / 2
    written = work_of(ran.plan, "cache-features", "voc").written
    assert written == pytest.approx(size, rel=0.01, abs=3000)


def test_a_prepared_dataset_is_counted_from_its_index(finished: Finished) -> None:
    counted, expected = (
        Facts(finished.plan, use_index).census["voc"] for use_index in (True, False)
    )
    assert (counted.origin, expected.origin) == ("as indexed here", "as drawn")
    assert (counted.sizes, counted.classes) == (expected.sizes, expected.classes)
    more = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    more["datasets"]["voc"]["source"]["train"] = 60  # the index belongs to other settings now
    changed = Facts(Plan(validate(Params, more))).census["voc"]
    assert (changed.origin, changed.photos("train")) == ("as drawn", 60)


# Hours.


def test_seconds_add_up() -> None:
    work = Work(matmul=30, conv=40, resized=10, steps=2, megapixels=8, read=12, written=16)
    busy, host = 3 + 2 + 2, 2
    reading, writing = 4 + 3, 2
    start = machines.START_SECONDS
    assert seconds(work, RATES) == start + busy + host + reading + writing
    assert seconds(work, RATES, loaders=2) == start + busy + host + writing  # 3.5 s are hidden
    on_gpu = replace(RATES, gpu="a GPU")
    assert seconds(work, on_gpu) == start + busy + reading + writing
    assert seconds(work * 2 + Work(steps=30), on_gpu) == start + 34 + 2 * (reading + writing)
    assert work.flops == 70 + 10 * RESIZE_FLOPS


def test_a_compiled_step_costs_a_launch_on_a_gpu_alone() -> None:
    plain, compiled = Work(steps=30), Work(steps=30, graphs=30)
    on_gpu = replace(RATES, gpu="a GPU")
    per_step = machines.GRAPH_OPERATIONS / machines.STEP_OPERATIONS
    assert seconds(compiled, on_gpu) == pytest.approx(machines.START_SECONDS + 30 * per_step)
    assert seconds(compiled, RATES) == seconds(plain, RATES) == machines.START_SECONDS + 30


def test_gpus_are_ordered_by_their_peaks() -> None:
    student, tower = Work(conv=1e18), Work(matmul=1e18)
    times = {name: seconds(student, gpu) for name, gpu in GPUS.items()}
    assert sorted(times, key=times.get) == ["h100", "a100", "4090", "3090", "v100", "t4"]
    # Matrix products stay in float32, in which consumer cards are as fast.
    assert seconds(tower, GPUS["4090"]) < seconds(tower, GPUS["h100"])


def test_bfloat16_has_rates_of_its_own_in_the_stages_that_compute_in_it() -> None:
    """Of a GPU that has it. Rectification is float32."""
    gpu = GPUS["h100"]
    assert gpu.of("distill", "float32") == gpu.of("rectify", "bfloat16") == gpu
    for stage in ("cache-features", "distill", "probe", "evaluate"):
        for precision in ("bfloat16", "auto"):
            assert gpu.of(stage, precision).matmul > 5 * gpu.matmul
            assert gpu.of(stage, precision).conv > gpu.conv
            assert GPUS["v100"].of(stage, precision) == GPUS["v100"]


def test_hours_know_the_precision(tiny_plan) -> None:
    costs, plans = job_costs(Facts(tiny_plan())), {}
    for name in ("float32", "bfloat16"):
        rows = summary(costs, replace(RATES, bfloat16=(1e30, 1e30)), None, 1, name)
        plans[name] = rows.set_index("stage")["gpu_hours"].groupby(level=0).sum()
    for stage in ("cache-features", "distill"):
        assert plans["bfloat16"][stage] < plans["float32"][stage]
    assert plans["bfloat16"]["rectify"] == plans["float32"]["rectify"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_this_machine_is_measured_in_the_precision_in_force(
    tiny_plan, precision: str, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []
    for name in ("_blocks", "_student"):
        monkeypatch.setattr(
            calibrate, name, lambda facts, dataset, device, given: seen.append(given) or 2.0
        )
    plan = tiny_plan({"compute": {"precision": precision}})
    rates = calibrate.calibrate(Facts(plan), "voc")
    assert rates.bfloat16 == ((2.0, 2.0) if precision == "bfloat16" else None)
    assert seen == (["float32"] * 2 if precision == "float32" else ["bfloat16"] * 2 + ["float32"])


def test_jobs_share_the_cores_but_not_a_gpu(tiny_plan, monkeypatch) -> None:
    monkeypatch.setattr(machines.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [machines.jobs_at_once(threads, RATES) for threads in (1, 3, 16)] == [8, 2, 1]
    assert machines.jobs_at_once(1, replace(RATES, gpu="a GPU")) == 1
    costs = job_costs(Facts(tiny_plan()))
    alone, four = (summary(costs, RATES, RATES, at_once).iloc[-1] for at_once in (1, 4))
    assert alone.hours_here == alone.gpu_hours == 4 * four.hours_here


def test_this_machine_can_be_measured(tiny_plan, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("DISK_BYTES", 2**16), ("STUDENT_FLOPS", 1e6)):
        monkeypatch.setattr(calibrate, name, value)
    text = cost_text(tiny_plan())
    assert "hours here" in text.splitlines()[0]
    assert "Measured here: matrix products" in text
    assert list(tmp_path.iterdir()) == []


# The texts.


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, ""), (12, "12 B"), (999.4, "999 B"), (999.6, "1.00 kB"), (2.64e9, "2.64 GB"),
     (999_600, "1.00 MB"), (116.4e9, "116 GB"), (1.2e21, "1,200 EB")],
)  # fmt: skip
def test_amounts(value: float, words: str) -> None:
    assert amount(value, "B") == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.001, "<0.01"), (0.066, "0.07"), (0.999, "1.0"), (9.97, "10"), (15_234, "15,000")],
)
def test_hours(value: float, words: str) -> None:
    assert hours(value) == words


def test_totals_cover_all_rows_and_the_check(tiny_plan: Callable[..., Plan]) -> None:
    changes = {
        "tables": {"table4": {"title": "t", "rows": [
            {"row": "r", "cells": {c: {"run": c} for c in ("query", "ref-pe", "distill")}}
        ]}},
        "check": {"seeds": [0, 1, 2, 3]},
    }  # fmt: skip
    rows = summary(job_costs(Facts(tiny_plan(changes))), RATES, None, 1)
    found, total, check = rows.iloc[:-2], rows.iloc[-2], rows.iloc[-1]
    assert (total.stage, check.stage) == ("total", "of it for the check alone")
    assert total.jobs == found.jobs.sum() == len(tiny_plan(changes).jobs)
    assert total.flops == pytest.approx(found.flops.sum())
    assert check.trainings == 2 + 3  # beside the demo's two rectifications and one student
    assert "hours_here" not in rows


def test_markdown_is_the_same_on_every_machine(tiny_plan, monkeypatch) -> None:
    text = cost_markdown(tiny_plan(), "v100")
    monkeypatch.setattr(calibrate, "calibrate", lambda *_: 1 / 0)
    monkeypatch.setattr(machines.os, "cpu_count", lambda: 99)
    assert cost_markdown(tiny_plan(), "v100") == text
    assert "here |" not in text and "Measured" not in text
    assert "nothing was measured on one" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {8}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["plan", *arguments])


def test_command(project: Path) -> None:
    done = run("--cost", "--no-calibrate", "--gpu", "a100")
    assert done.exit_code == 0, done.output
    assert "hours, A100 SXM 80 GB (estimate)" in done.output
    assert "Measured here" not in done.output
    assert run("--cost", "--markdown").output.startswith("| stage | dataset |")
    assert not (project / "results").exists()  # --cost writes nothing
    assert run().exit_code == 0
    assert (project / "results/tiny/plan/rectify/ref-pe/seed-0.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gpu", "h100"], "need --cost"),
        (["--no-calibrate"], "need --cost"),
        (["--markdown"], "need --cost"),
        (["--cost", "--markdown", "--calibrate"], "remove --calibrate"),
        (["--cost", "--gpu", "h2000"], "'h2000' is not one of"),
    ],
)
def test_options_that_exclude_each_other(project: Path, arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2 and words in done.output


def test_an_unwritable_folder_is_reported(tiny_plan, monkeypatch) -> None:
    def refuse(**_: Any) -> None:
        raise OSError("read-only file system")

    monkeypatch.setattr(calibrate.tempfile, "TemporaryFile", refuse)
    with pytest.raises(ReclipError, match="read-only file system.*--no-calibrate"):
        cost_text(tiny_plan())


# The README.


def test_costs_of_the_paper_need_no_download() -> None:
    text = paper_cost()
    assert text == paper_cost()
    (features,) = (line for line in text.splitlines() if line.startswith("| cache-features | ade"))
    assert " GB |" in features
    assert text.count("published counts") == 2


def test_the_readme_command_fills_both_blocks(tiny_plan, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = tiny_plan({"check": None})
    (table,) = (plan.job("tabulate", table).outputs[1] for table in plan.params.tables)
    table.parent.mkdir(parents=True)
    table.write_text("a table\n", encoding="utf-8")
    without = with_tables(f"{BEGIN}{END}", plan)
    assert without == f"{BEGIN}\n\n2 seeds: `make demo`.\n\na table\n\n{END}"
    both = with_tables(f"{without}{COST_BEGIN}{COST_END}", plan)
    assert both == f"{without}{COST_BEGIN}\n\n{paper_cost()}\n\n{COST_END}"


def test_a_block_replaces_the_text_between_markers() -> None:
    text = f"before {COST_BEGIN} old {COST_END} after"
    new = between(text, COST_BEGIN, COST_END, "new")
    assert new == f"before {COST_BEGIN}\n\nnew\n\n{COST_END} after"
    assert between(new, COST_BEGIN, COST_END, "new") == new
    with pytest.raises(ReclipError, match="has no markers"):
        between(f"before {COST_BEGIN} old", COST_BEGIN, COST_END, "new")
