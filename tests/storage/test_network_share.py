"""Results on a network share: its clock, its coarse times, and what another machine sees late."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.kubernetes_api import Cluster, serve
from support.network_share import installed, mounted
from support.pods import Pods, image

pytestmark = pytest.mark.skipif(
    not installed(), reason="python3-fusepy is not installed, or FUSE is not permitted"
)

SLOW, FAST = -300.0, 300.0  # seconds between the server's clock and this machine's
RECTIFIED = {"rectify ref-pe seed 0", "rectify ref-pe seed 1"}
RECTIFY = [f"results/tiny/runs/ref-pe/rectify/seed-{seed}/receipt.json" for seed in (0, 1)]
GATHERED = "results/tiny/runs/ref-pe/metrics.json"


@pytest.mark.parametrize(("skew", "step"), [(SLOW, 0), (FAST, 2)])
def test_a_changed_setting_reruns_its_jobs_once(made, tmp_path, skew, step):
    served = tmp_path / "served"
    made.copy(served / "project")
    with mounted(served, tmp_path / "share", skew=skew, step=step) as share:
        project = replace(made, folder=share / "project", forked=True)
        project.set("rectify.lr", 0.02)
        project.run("snakemake", *RECTIFY)
        assert project.ran() == RECTIFIED
        assert project.planned(*RECTIFY) == set()


def test_a_lost_result_is_made_again(made, tmp_path):
    """Its plan file must be newer than what is left of it, and older than what is made."""
    served = tmp_path / "served"
    made.copy(served / "project")
    with mounted(served, tmp_path / "share", skew=SLOW, step=2) as share:
        project = replace(made, folder=share / "project", forked=True)
        project.run("snakemake", "-n")  # writes the plan files
        (project.folder / GATHERED).touch()
        (project.folder / GATHERED).parent.joinpath("gather/receipt.json").unlink()
        project.run("snakemake", GATHERED)
        assert project.ran() == {"gather ref-pe"}
        assert project.planned(GATHERED) == set()


def test_jobs_on_a_machine_whose_files_appear_late(made, tmp_path):
    """Snakemake has looked for the receipts before, so its machine caches that there are none."""
    served, folder = tmp_path / "served", tmp_path / "cluster"
    made.copy(served / "project")
    folder.mkdir()
    with (
        mounted(served, tmp_path / "here", cache=3) as here,
        mounted(served, tmp_path / "node", cache=3) as node,
    ):
        project = replace(made, folder=here / "project")
        project.set("rectify.lr", 0.02)
        on_node = replace(made, folder=node / "project")
        cluster = Cluster(folder, image(on_node), mounts={str(here): str(node)})
        with serve(cluster) as kubeconfig:
            Pods(project, cluster, kubeconfig).snakemake(*RECTIFY)
        assert project.ran() == RECTIFIED
        assert len(cluster.manifests) == len(RECTIFY)  # none was tried again
