"""compute.feature_jobs: Snakemake makes features in several jobs, with the same bytes."""

from __future__ import annotations

import re
from pathlib import Path

from support.project_copy import Checkout

FEATURES = Path("results/tiny/features/voc")
TARGET = str(FEATURES / "receipt.json")


def with_jobs(checkout: Checkout, jobs: int) -> Checkout:
    params = checkout.params()
    params["compute"]["feature_jobs"] = jobs
    checkout.write_params(params)
    return checkout


def content(checkout: Checkout) -> dict[str, bytes]:
    folder = checkout.folder / FEATURES
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def shares(said: str) -> list[str]:
    """The shares that Snakemake runs or plans."""
    return sorted(re.findall(r"wildcards: dataset=voc, digest=\w+, share=(\d+), shares=\d+", said))


def test_shares_are_jobs_of_their_own_and_lead_to_the_same_bytes(checkout) -> None:
    assert shares(with_jobs(checkout, 3).run("snakemake", "--cores", "2", TARGET)) == list("123")
    expected = content(checkout)
    for jobs in (3, 1):  # their number makes nothing stale
        assert "Nothing to be done" in with_jobs(checkout, jobs).run("snakemake", "-n", TARGET)
    next((checkout.folder / FEATURES).rglob("views.npy")).unlink()
    assert shares(checkout.run("snakemake", "--cores", "2", TARGET)) == []
    assert content(checkout) == expected
