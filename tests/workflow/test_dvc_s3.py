"""Results to an S3 bucket and back, against moto's server; git does not see the key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from support.dvc_remotes import configure, files_with, push, refused, require_same, seen_by_git
from support.s3 import KEY, SECRET, buckets, hide_account, objects
from support.stand_ins import SMALL, make_project


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with buckets("results") as url:
        yield url


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path) -> None:
    hide_account(monkeypatch, tmp_path / "empty")


def test_there_and_back_and_the_key_is_seen_nowhere(server, tmp_path, tiny_params):
    project = replace(make_project(tmp_path / "project", tiny_params(SMALL)), forked=True)
    project.use_remote("s3://results/reclip")
    configure(project, endpointurl=server)
    configure(project, local=True, access_key_id=KEY, secret_access_key=SECRET)
    push(project)
    stored = objects(server, "results")
    assert stored
    assert all(name.startswith("reclip/files/md5/") for name in stored)

    clone = project.clone(tmp_path / "clone")
    said = refused(clone)
    assert "14 of 14 results are not complete" in said
    assert "the DVC remote needs a key: set access_key_id" in said
    configure(clone, local=True, access_key_id=KEY, secret_access_key=SECRET)
    require_same(clone, project)

    for one in (project, clone):
        assert files_with(one.folder, SECRET) == {".dvc/config.local"}
        assert ".dvc/config.local" not in seen_by_git(one)
