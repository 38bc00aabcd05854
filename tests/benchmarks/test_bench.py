"""`make bench`: plain versions equal reclip, low shares have reasons, the table says it all.

No time is measured here: the clock is fake. The sizes are a tiny CLIP's.
"""

from __future__ import annotations

import itertools
import json
import runpy
from pathlib import Path

import pytest
import torch
from speed.case import Case, difference
from speed.inputs import Inputs
from speed.limits import FLOATS, Need, Probe, limit, probes
from speed.machine import slug
from speed.measure import Row, measure
from speed.rates import Measured, rates
from speed.reasons import REASONS, reason, unexplained
from speed.sizes import MINI_STUDENT, Size
from speed.stages import STAGES
from speed.table import duration, lines
from speed.timing import Budget, by_turns

from reclip.common.errors import ReclipError
from reclip.config.models import RectifySettings
from reclip.cost.machines import Work
from support.paths import ROOT
from support.tiny_clip import in_registry

CLASSES = (("cat",), ("dining table",), ("dog",))
LIMITS = [*(f"{kind} {p}" for kind in ("matmul", "conv") for p in FLOATS), "copied"]
RATES = {"matmul float32": 1e9, "conv float32": 1e9, "copied": 1e9}


def tiny_size(**changes) -> Size:
    size = Size(
        "tiny", "Tiny", "tiny-ViT", CLASSES, 32, (40, 48), 32,
        RectifySettings(prompt_length=4, positional_hidden=(8, 8)), MINI_STUDENT, batch=2, few=1,
    )  # fmt: skip
    return size._replace(**changes)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    with in_registry(tmp_path_factory.mktemp("registry")):
        yield Inputs(tiny_size(), torch.device("cpu"))


def clock():
    """Return a clock on which every look takes a second."""
    seconds = itertools.count()
    return lambda: float(next(seconds))


def row(**changes) -> Row:
    plain = Row("evaluation", "VOC", "integer", "photo", 4, 2.0, 0.5, 0.4, 4.0, 0.8, 0.0, 3)
    return plain._replace(**changes)


@pytest.mark.parametrize("stage", [s for s in STAGES if "compiled" not in s])  # a minute each
def test_the_plain_version_gives_the_same_result(inputs: Inputs, stage: str) -> None:
    case = STAGES[stage](inputs)
    images = 1 if stage.startswith("distillation") else 2  # its batch norms see the whole batch
    assert difference(case.ours(images, "float32"), case.plain(images)) <= case.tolerance
    assert sum(case.need) > 0


def test_another_result_is_an_error(inputs: Inputs) -> None:
    ones, zeros = (lambda *_, made=make: [made(3)] for make in (torch.ones, torch.zeros))
    case = Case("photo", ones, zeros, Need(copied=1))
    with pytest.raises(ReclipError, match="another result"):
        measure("evaluation", case, inputs, {}, Budget(1, 1, 0))


def test_no_number_is_another_result() -> None:
    assert not difference([torch.tensor([torch.nan])], [torch.ones(1)]) <= 1


def test_versions_take_turns() -> None:
    calls = []
    versions = {name: lambda name=name: calls.append(name) for name in ("plain", "ours")}
    turns = by_turns(versions, Budget(least=2, most=5, seconds=0), clock())
    assert calls == ["plain", "ours"] * 2
    assert turns == [{"plain": 1.0, "ours": 1.0}] * 2


@pytest.mark.parametrize(
    ("budget", "turns"),
    [
        (Budget(1, 4, seconds=1e9, longest=1e9), 4),
        (Budget(3, 9, seconds=0, longest=1e9), 3),
        (Budget(3, 9, seconds=0, longest=0), 1),  # too slow to repeat
    ],
)
def test_when_turns_end(budget: Budget, turns: int) -> None:
    assert len(by_turns({"plain": lambda: None}, budget, clock())) == turns


def test_a_short_call_is_repeated() -> None:
    calls, looks = [], iter([0.0, 0.0, 0.005, 1.0, 1.04, 2.0])  # 5 ms, then 4 calls of 10 ms
    [turn] = by_turns({"plain": lambda: calls.append(1)}, Budget(1, 1, 0), lambda: next(looks))
    assert turn["plain"] == pytest.approx(0.01)
    assert len(calls) == 1 + 4


def test_rows_follow_from_the_turns(inputs: Inputs) -> None:
    """Of a fake clock, every call takes a second, whatever its number of units."""
    same = lambda *_: [torch.ones(1)]  # noqa: E731
    case = Case("view", same, same, Need(matmul=3.0), few=1, many=4)
    probes = {"matmul float32": Probe(6.0, lambda: None), "copied": Probe(1.0, pytest.fail)}
    [found] = measure("rectification", case, inputs, probes, Budget(3, 3, 0), clock())
    assert (found.plain, found.ours, found.limit) == (1.0, 0.25, 0.5)
    assert (found.ratio, found.share, found.turns) == (4.0, 2.0, 3)


def test_the_limit_is_the_slowest_of_arithmetic_and_memory() -> None:
    assert limit(Need(matmul=1e9, conv=2e9, copied=1e9), "float32", RATES) == 3.0
    assert limit(Need(matmul=1e9, copied=4e9), "float32", RATES) == 4.0
    assert limit(Need(matmul=1e9), "bfloat16", {"matmul bfloat16": 4e9}) == 0.25
    assert limit(Need(decoded=1), "integer", {"decoded": 50.0}) == 0.02


def test_every_limit_has_a_probe() -> None:
    found = probes(torch.device("cpu"), quick=True, clock=clock())
    assert sorted(found) == sorted(LIMITS)
    assert all(probe.run() is not None for probe in found.values())


def test_a_low_share_needs_a_reason() -> None:
    slow, unknown = row(share=0.1), row(share=0.1, stage="a new stage", size="Tiny")
    assert reason(row(), "cpu") == ""
    assert reason(slow, "cpu")
    assert unexplained([row(), slow, unknown], "cpu") == [unknown]
    assert any("(no reason)" in line for line in lines([unknown], "cpu"))


def test_reasons_name_stages_that_exist() -> None:
    assert {stage for known in REASONS for stage in known.stages} <= set(STAGES)


def test_a_reason_stands_once_below_the_table() -> None:
    slow = [row(share=0.1), row(share=0.2, size="ADE"), row(size="Context")]
    table = "\n".join(lines(slow, "cpu"))
    assert table.count("(1)") == 2
    assert table.count(reason(slow[0], "cpu")) == 1
    assert "80% |" in table


@pytest.mark.parametrize(
    ("seconds", "said"), [(2.5, "2.5 s"), (0.0123456, "12.3 ms"), (4.2e-6, "4.2 µs")]
)
def test_durations_have_a_unit_that_suits_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_rates_for_the_cost_model() -> None:
    amounts = {
        "dense-features": Work(matmul=8.0),
        "distillation-grid": Work(conv=6.0, resized=99.0),
        "class-map": Work(resized=4.0),
    }
    measured = [
        Measured(row(stage=stage, precision=precision, ours=ours), work)
        for stage, work in amounts.items()
        for precision, ours in (("float32", 2.0), ("bfloat16", 1.0))
    ]
    found = rates(measured, torch.device("cpu"), "a processor")
    assert (found.matmul, found.conv, found.resize) == (4.0, 3.0, 2.0)
    assert found.operations > 0
    assert rates(measured[:2], torch.device("cpu"), "a processor") is None


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ({"name": "NVIDIA H200", "device": "cuda", "cores": 16}, "nvidia-h200"),
        (
            {"name": "Intel(R) Xeon(R) CPU @ 2.20GHz", "device": "cpu", "cores": 2},
            "intel-xeon-cpu-2-cores",
        ),
    ],
)
def test_files_have_the_name_of_the_machine(machine: dict, name: str) -> None:
    assert slug(machine) == name


@pytest.mark.parametrize(("reasons", "status"), [(REASONS, 0), ((), 1)])
def test_the_command_writes_table_data_and_plot(
    tmp_path: Path, monkeypatch, capsys, reasons, status: int
) -> None:
    """Its exit status says whether every low share has its reason."""
    monkeypatch.setattr("speed.sizes.SIZES", {"tiny": tiny_size()})
    monkeypatch.setattr("speed.reasons.REASONS", reasons)
    limits = {name: Probe(1e30, lambda: None) for name in LIMITS}  # nothing comes near them
    monkeypatch.setattr("speed.limits.probes", lambda *_: limits)
    main = runpy.run_path(str(ROOT / "benchmarks/bench.py"))["main"]
    with in_registry(tmp_path):
        arguments = ["--quick", "--device", "cpu", "--threads", "1", "--output", str(tmp_path)]
        assert main([*arguments, "--stages", "evaluation,class-map"]) == status
    said = capsys.readouterr()
    [written] = tmp_path.glob("*.md")
    assert written.read_text() in said.out
    assert "a GPU only" in said.out
    assert ("add the reason" in said.err) == bool(status)
    report = json.loads(written.with_suffix(".json").read_text())
    assert {found["stage"] for found in report["rows"]} == {"evaluation", "class-map"}
    assert written.with_suffix(".png").stat().st_size > 5000


def test_an_unknown_stage_is_named(capsys) -> None:
    main = runpy.run_path(str(ROOT / "benchmarks/bench.py"))["main"]
    with pytest.raises(SystemExit):
        main(["--stages", "teleport"])
    assert "--stages: unknown teleport" in capsys.readouterr().err
