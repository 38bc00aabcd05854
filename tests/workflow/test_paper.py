"""The paper's own experiments, planned where nothing has been downloaded yet."""

from __future__ import annotations

from collections import Counter

import pytest

METHODS = {  # run -> stages, for every run that a table measures
    "voc": ["query", "ref", "ref-pe", "learnq-ref", "add", "maskclip-plus", "distill"],
    "context": ["query", "ref", "ref-pe", "learnq-ref", "add", "maskclip-plus", "distill"],
    "ade": ["query", "ref", "ref-pe", "learnq-ref", "maskclip-plus", "distill"],
}


@pytest.fixture
def paper(checkout):
    checkout.run("python", "-m", "reclip", "init", "paper", "--output", "paper.yaml")
    return checkout


def test_all_of_tables_1_to_7_is_planned(paper) -> None:
    planned = paper.planned("--config", "params=paper.yaml")
    for dataset, runs in METHODS.items():
        assert {f"{rule}:{dataset}" for rule in ("fetch", "prepare", "cache_features")} <= planned
        assert {f"gather:{dataset}-{run}" for run in runs} <= planned
    assert {f"tabulate:table{k}" for k in range(1, 8)} <= planned
    count = Counter(job.split(":")[0] for job in planned)
    # Six more VOC runs: three heads and two losses beside the ones above, and the linear probe.
    assert count["gather"] == 20 + 6
    # Each of the eleven rectified runs has three seeds; others have one.
    assert (count["rectify"], count["distill"], count["probe"]) == (11 * 3, 11, 1)
    assert count["evaluate"] == 3 + 11 * 3 + 11 + 1
    assert not (paper.folder / "downloads").exists()  # planning fetches nothing


def test_a_data_set_can_be_left_alone(paper) -> None:
    """Tables 1, 6 and 7 are of VOC: neither Context nor ADE is fetched for them."""
    planned = paper.planned("table1", "table6", "table7", "--config", "params=paper.yaml")
    assert "fetch:voc" in planned
    assert not {"fetch:context", "fetch:ade"} & planned
