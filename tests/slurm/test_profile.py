"""profiles/slurm without a Slurm: what it sets, together with profiles/default, and a dry run."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import yaml

from reclip.pipeline.plan import Plan
from support.paths import ROOT
from support.project_copy import Checkout, make_checkout

pytest.importorskip("snakemake_executor_plugin_slurm", reason="needs reclip[slurm]")

PROFILE = "profiles/slurm"


def read(profile: str) -> dict:
    return yaml.safe_load((ROOT / profile / "profile.yaml").read_text(encoding="utf-8"))


def parsed(monkeypatch: pytest.MonkeyPatch, *options: str):
    """Snakemake's settings, as its command line reads them."""
    from snakemake.cli import parse_args

    monkeypatch.chdir(ROOT)
    return parse_args(options)[1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, tiny_params) -> Checkout:
    return make_checkout(tmp_path_factory.mktemp("profile"), tiny_params())


def test_it_repeats_what_profiles_default_says_of_staleness():
    limits_of_a_machine = ("cores", "resources")
    default, slurm = read("profiles/default"), read(PROFILE)
    assert {k: slurm.get(k) for k in default if k not in limits_of_a_machine} == {
        k: v for k, v in default.items() if k not in limits_of_a_machine
    }


def test_beside_profiles_default_one_gpu_is_no_limit_for_all_jobs(monkeypatch):
    """Snakemake reads profiles/default as well, and its values win."""
    settings = parsed(monkeypatch, "--profile", PROFILE)
    assert settings.executor == "slurm"
    assert settings.jobs == 100
    assert settings.resources["gpu"].value == 1
    assert settings.set_resource_scopes.is_local("gpu")


def test_in_place_of_profiles_default_it_limits_neither_threads_nor_gpus(monkeypatch):
    settings = parsed(monkeypatch, "--workflow-profile", PROFILE)
    assert settings.executor == "slurm"
    assert settings.cores is None
    assert "gpu" not in settings.resources


def test_a_dry_run_plans_every_job_with_memory_and_time_and_no_partition(checkout):
    said = checkout.run("snakemake", "-n", "--profile", PROFILE)
    jobs = re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: (.*)$", said, re.M)
    plan = Plan.load(checkout.folder / "params.yaml")
    expected = Counter(job.stage.replace("-", "_") for job in plan.default_jobs)
    assert Counter(rule for rule, _ in jobs) == expected
    for rule, text in jobs:
        asked = dict(pair.split("=", 1) for pair in text.split(", "))
        assert 500 <= int(asked["mem_mb"]) <= 16000, rule
        assert 1 <= int(asked["runtime"]) <= 24 * 60, rule
        assert not {"slurm_partition", "slurm_account"} & asked.keys(), rule


def test_partition_and_account_are_set_in_one_place(checkout, tmp_path):
    text = (checkout.folder / PROFILE / "profile.yaml").read_text(encoding="utf-8")
    text = text.replace("# slurm_partition: gpu", "slurm_partition: gpu")
    text = text.replace("# slurm_account: my-project", "slurm_account: my-project")
    own = tmp_path / "slurm"
    own.mkdir()
    (own / "profile.yaml").write_text(text, encoding="utf-8")
    said = checkout.run("snakemake", "-n", "--profile", str(own))
    jobs = re.findall(r"^    resources: .*$", said, re.M)
    assert jobs
    assert all("slurm_partition=gpu" in job for job in jobs)
    assert all("slurm_account=my-project" in job for job in jobs)
