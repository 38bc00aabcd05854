"""How many processes a training gets, and what is said if one fails."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from reclip.cli import torchrun
from reclip.cli.main import cli
from reclip.common.errors import ReclipError
from reclip.config.models import ComputeSettings


@pytest.mark.parametrize(
    ("gpus", "device", "there", "processes"),
    [
        (None, "cuda", 4, 1),
        ("2", "cuda", 4, 2),
        ("all", "cuda", 4, 4),
        ("all", "auto", 4, 4),
        ("3", "cpu", 4, 3),
        ("2", "auto", 0, 2),
        ("1", "cuda:1", 4, 1),
    ],
)
def test_number_of_processes(monkeypatch, gpus, device, there, processes) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    assert torchrun.number(gpus, ComputeSettings(device=device)) == processes


def test_the_setting_counts_without_the_option(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert torchrun.number(None, ComputeSettings(device="cuda", gpus=3)) == 3
    assert torchrun.number("2", ComputeSettings(device="cuda", gpus=3)) == 2


@pytest.mark.parametrize(
    ("gpus", "device", "there", "said"),
    [
        ("5", "cuda", 4, "--gpus: 5 GPUs are asked for, but this machine has 4"),
        ("all", "cuda", 0, "--gpus: all GPUs are asked for, but this machine has 0"),
        ("all", "cpu", 4, "--gpus: this machine has no GPU to use: give a number"),
        ("2", "cuda:1", 4, "'cuda:1' is a single device, but --gpus asks for 2: set it to cuda"),
    ],
)
def test_impossible_numbers_are_refused(monkeypatch, gpus, device, there, said) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(ReclipError, match=said):
        torchrun.number(gpus, ComputeSettings(device=device))


@pytest.mark.parametrize("value", ["0", "-1", "half", "1.5", "²"])
def test_other_words_are_no_number_of_gpus(project: Path, value: str) -> None:
    said = CliRunner().invoke(cli, ["distill", "--run", "distill", "--gpus", value])
    assert said.exit_code == click.BadParameter.exit_code
    assert "give a number from 1, or all" in said.output


def test_only_trainings_have_the_option() -> None:
    stages = [name for name, command in cli.commands.items()
              if any(option.name == "gpus" for option in command.params)]  # fmt: skip
    assert sorted(stages) == ["distill", "probe", "rectify"]


def test_the_number_of_gpus_makes_nothing_stale(tiny_plan) -> None:
    one, two = (tiny_plan({"compute": {"gpus": n}}).job("distill", "distill", 0) for n in (1, 2))
    assert one.digest == two.digest


def failure(folder: Path, rank: int, exitcode: int, message: str = "", at: float = 0):
    """What torchrun finds out about a process that failed, with the file of its error."""
    file = folder / f"{rank}.json"
    if message:
        content = {"message": message, "extraInfo": {"timestamp": "7", "py_callstack": ""}}
        file.write_text(json.dumps({"message": content}), encoding="utf-8")
        os.utime(file, (at, at))
    return ProcessFailure(rank, 1000 + rank, exitcode, str(file))


def test_the_sentence_is_of_the_process_that_failed_first(tmp_path: Path) -> None:
    lost = failure(tmp_path, 0, 1, "RuntimeError: Connection closed by peer\nmore", at=20.5)
    killed = failure(tmp_path, 1, -9)
    said = torchrun.sentence("distill x", {0: lost, 1: killed}, 2)
    assert said.startswith("distill x: process 2 of 2 was killed (SIGKILL), and the others were")
    own = failure(tmp_path, 2, 1, "ReclipError: cannot read 'a.jpg': restore it", at=20.4)
    assert torchrun.sentence("x", {0: lost, 2: own}, 3) == "cannot read 'a.jpg': restore it"
    other = failure(tmp_path, 1, 1, "OutOfMemoryError: CUDA\nmore", at=20.4)
    said = torchrun.sentence("x", {0: lost, 1: other}, 2)
    assert said.startswith("x: process 2 of 2 failed (OutOfMemoryError: CUDA), and the others")
    silent = failure(tmp_path, 3, 3)
    assert "process 4 of 4 ended with exit code 3" in torchrun.sentence("x", {3: silent}, 4)
