"""A whole pipeline in pods, with its real stages and the resources that they need.

`make soak`, or `RECLIP_PODS=1 pytest -n 0 tests/soak/test_kubernetes.py`: two minutes.
"""

from __future__ import annotations

import os
import shutil

import pytest

from support.kubernetes_api import Cluster, serve
from support.pods import Pods
from support.project_copy import make_checkout
from support.stand_ins import SMALL, Project

pytestmark = pytest.mark.skipif(
    "RECLIP_PODS" not in os.environ, reason="takes minutes: set RECLIP_PODS"
)

OWN = "tiny/.costs.json"
"""What jobs need; a run on one machine does not compute it."""


def test_a_pipeline_in_pods_writes_the_bytes_of_a_local_one(tmp_path, tiny_params):
    local, project = Project(tmp_path / "local"), Project(tmp_path / "volume" / "project")
    local.folder.mkdir()
    make_checkout(local.folder, tiny_params({**SMALL, "seeds": {"rectify": [0, 1]}}))
    shutil.copytree(local.folder, project.folder)
    local.run("snakemake")
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = Cluster(folder, project.env)
    with serve(cluster) as kubeconfig:
        Pods(project, cluster, kubeconfig).snakemake(resources=None)
    made, expected = project.bytes(), local.bytes()
    assert made.pop(OWN)
    assert made.keys() == expected.keys()
    assert not [name for name in made if made[name] != expected[name]]
    assert project.planned() == set()
    pods = [m["spec"]["template"]["spec"]["containers"][0] for m in cluster.manifests]
    memory = {pod["resources"]["limits"]["memory"] for pod in pods}
    assert len(memory) > 1  # each job's own, not the profile's default
