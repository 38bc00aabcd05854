"""A project on a volume, and a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.kubernetes_api import Cluster, serve
from support.pods import Pods, image
from support.stand_ins import SMALL, Project, make_project


@pytest.fixture(scope="session")
def made(tmp_path_factory, tiny_params) -> Project:
    """A project with all its results."""
    project = make_project(tmp_path_factory.mktemp("made") / "project", tiny_params(SMALL))
    project.make_all()
    return project


@pytest.fixture
def pods(made, tmp_path) -> Iterator[Pods]:
    """A copy of it on a volume, with a cluster that has run nothing."""
    project = made.copy(tmp_path / "volume" / "project")
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = Cluster(folder, image(project))
    with serve(cluster) as kubeconfig:
        yield Pods(project, cluster, kubeconfig)
