"""What Snakemake asks for each job, seen in dry runs with every profile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reclip.pipeline.stages import STAGES
from support.paths import ROOT
from support.project_copy import Checkout, make_checkout
from support.tiny_experiment import TINY, merged

PROFILES = sorted(path.name for path in (ROOT / "profiles").iterdir())
STATING = [name for name in PROFILES if name != "default"]
COSTS = Path("results/tiny/.costs.json")
ON_GPU = {  # rules of the stages that read `compute`
    "embed_text", "cache_features", "rectify", "pseudo_mask", "distill", "probe", "evaluate",
    "plot", "summarise",
}  # fmt: skip


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The tiny experiment on a GPU if there is one; its costs are computed once."""
    return make_checkout(
        tmp_path_factory.mktemp("project"), merged(TINY, {"compute": {"device": "auto"}})
    )


@pytest.fixture(autouse=True)
def no_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the machine that submits jobs to a cluster."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def asked(checkout: Checkout, *options: str) -> dict[str, dict[str, str]]:
    """Return what a dry run says of the jobs: rule to resources and threads, of one job each."""
    found: dict[str, dict[str, str]] = {}
    rule = ""
    plugins = f"PYTHONPATH={checkout.folder}:{checkout.folder}/profiles/kubernetes"
    dry_run = ("env", plugins, "snakemake", "-n", "--forceall", *options, "--", "all")
    for line in checkout.run(*dry_run).splitlines():
        if said := re.match(r"(?:local)?rule (\w+):", line):
            rule = said[1]
            found[rule] = {"threads": "1"}
        elif said := re.match(r"    (?:resources: (.*)|(threads: \d+))", line):
            pairs = re.findall(r"(\w+)(?:=|: )([^,]+)", said[1] or said[2])
            found[rule] |= dict(pairs)
    stages = {name.replace("-", "_") for name in STAGES}
    assert stages - {"fetch", "check"} <= found.keys() <= {*stages, "all"}  # nothing to fetch
    return {rule: found[rule] for rule in found if rule != "all"}


def test_on_this_machine_only_gpus_and_threads_count(checkout: Checkout, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    (checkout.folder / COSTS).unlink(missing_ok=True)
    jobs = asked(checkout)
    assert {rule for rule in jobs if jobs[rule].get("gpu") == "1"} == ON_GPU
    assert not any({"mem_mb", "runtime"} & resources.keys() for resources in jobs.values())
    assert not (checkout.folder / COSTS).exists()  # plain `snakemake` starts at once


@pytest.mark.parametrize("profile", STATING)
def test_every_rule_says_what_it_needs(checkout: Checkout, profile: str) -> None:
    options = ["--profile", f"profiles/{profile}"]
    jobs = asked(checkout, *options)
    assert (checkout.folder / COSTS).exists()
    assert not any("gpu" in resources for resources in jobs.values())  # there is none here
    for rule, resources in jobs.items():
        assert 100 <= int(resources["mem_mb"]) <= 10_000, rule
        assert 15 <= int(resources["runtime"]) <= 60, rule
        assert resources["threads"] == "1", rule
    assert int(jobs["prepare"]["mem_mb"]) < int(jobs["cache_features"]["mem_mb"])  # has no torch
    again = asked(checkout, *options, "--attempt", "2")
    for rule, resources in again.items():
        for name in ("mem_mb", "runtime"):
            assert int(resources[name]) == 2 * int(jobs[rule][name]), rule


def test_jobs_of_another_machine_ask_for_its_gpus(checkout: Checkout) -> None:
    jobs = asked(checkout, "--default-resources", "machine=h100", "mem_mb=1000")
    assert {rule for rule in jobs if jobs[rule].get("gpu") == "1"} == ON_GPU
    # None, not 0: the executor for Kubernetes takes any number as a request.
    assert {rule for rule in jobs if "gpu" in jobs[rule]} == ON_GPU
    assert {rule for rule in jobs if "gpu_memory_mb" in jobs[rule]} == ON_GPU


def test_a_machine_must_be_known(checkout: Checkout) -> None:
    text = checkout.run("snakemake", "-n", "--default-resources", "machine=h10", check=False)
    assert "unknown machine 'h10'; did you mean 'h100'?" in text
    pytest.importorskip("snakemake_executor_plugin_slurm")
    # The executor waits so long before it ends; by default 40 s.
    soon = ("--slurm-init-seconds-before-status-checks", "1")
    text = checkout.run("snakemake", "--executor", "slurm", "--jobs", "1", *soon, check=False)
    assert "say which machines" in text and not (checkout.folder / "results/tiny/data").exists()


def test_threads_that_read_ahead_are_counted_and_a_user_may_overrule(checkout: Checkout) -> None:
    other = merged(TINY, {"compute": {"threads": 1, "loaders": 1}})
    before = checkout.params()
    checkout.write_params(other)
    try:
        jobs = asked(checkout, "--cores", "4", "--set-resources", "distill:mem_mb=77")
        assert jobs["distill"]["mem_mb"] == "77"
        assert {rule for rule in jobs if jobs[rule]["threads"] == "2"} == {
            "cache_features", "rectify", "distill", "probe",
        }  # fmt: skip
    finally:
        checkout.write_params(before)
