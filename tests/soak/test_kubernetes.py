"""A whole pipeline in pods, on a cluster that is answered on this machine (kubernetes_api.py)."""

from __future__ import annotations

import pytest

from support.kubernetes_api import Cluster, serve
from support.pods import Pods, image
from support.stand_ins import make_project


@pytest.mark.slow
def test_a_pipeline_in_pods_writes_the_bytes_of_a_local_one(tmp_path, tiny_params):
    local = make_project(tmp_path / "local", tiny_params())
    project = local.copy(tmp_path / "volume" / "project")
    local.run("snakemake")
    local.run("reclip", "record")
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = Cluster(folder, image(project))
    with serve(cluster) as kubeconfig:
        Pods(project, cluster, kubeconfig).snakemake()
    assert project.bytes() == local.bytes()
    assert project.ran() == local.ran()
    assert project.planned() == set()
    project.run("reclip", "record")
    assert "up to date" in project.run("dvc", "status")
