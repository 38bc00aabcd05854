"""Results to a folder of an SSH server and back; git does not see who logs in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from support import sshd
from support.dvc_remotes import configure, push, refused, require_same, seen_by_git
from support.stand_ins import SMALL, make_project

pytestmark = pytest.mark.skipif(not sshd.installed(), reason="openssh-server is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[sshd.Server]:
    with sshd.running(tmp_path_factory.mktemp("sshd")) as server:
        yield server


def test_there_and_back_with_a_key(server, tmp_path, tiny_params):
    project = replace(make_project(tmp_path / "project", tiny_params(SMALL)), forked=True)
    project.use_remote(f"ssh://127.0.0.1:{server.port}{tmp_path}/store/results")
    login = {"user": server.user, "keyfile": str(server.key)}
    configure(project, local=True, **login)
    push(project)
    assert list((tmp_path / "store/results/files/md5").glob("*/*"))

    clone = project.clone(tmp_path / "clone")
    stranger = sshd.make_key(tmp_path / "stranger")
    configure(clone, local=True, user=server.user, keyfile=str(stranger))
    assert "the DVC remote, or a folder here, may not be read" in refused(clone)
    configure(clone, local=True, **login)
    require_same(clone, project)
    for one in (project, clone):
        assert ".dvc/config.local" not in seen_by_git(one)
