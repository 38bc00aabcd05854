"""Results to a WebDAV server and back; neither git nor MLflow sees its password."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cheroot.wsgi import Server
from wsgidav.wsgidav_app import WsgiDAVApp

from support.dvc_remotes import configure, files_with, push, refused, require_same, seen_by_git
from support.stand_ins import SMALL, make_project

USER, PASSWORD = "reclip", "hush-8431-secret"


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """A WebDAV server with one user, in this process."""
    served = tmp_path_factory.mktemp("served")
    (served / "store").mkdir()  # DVC makes folders in a remote, but not the remote
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(served)},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False},
            "verbose": 0,
            "logging": {"enable": False},
        }
    )
    server = Server(("127.0.0.1", 0), app, numthreads=4)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield f"webdav://127.0.0.1:{server.bind_addr[1]}/store"
    server.stop()
    thread.join()


def test_there_and_back_and_the_password_is_seen_nowhere(url, tmp_path, tiny_params):
    params = tiny_params({**SMALL, "tracking": {"enabled": True, "uri": "sqlite:///mlflow.db"}})
    project = replace(make_project(tmp_path / "project", params), forked=True)  # sooner, forks.py
    project.use_remote(url)
    configure(project, local=True, user=USER, password=PASSWORD)
    project.make_all()
    project.run("reclip", "prepare", "--dataset", "voc", "--force")  # which MLflow logs
    assert (project.folder / "mlflow.db").is_file()
    push(project)

    clone = project.clone(tmp_path / "clone")
    configure(clone, local=True, user=USER, password="wrong")
    said = refused(clone)
    assert "refuses the user or password in .dvc/config.local" in said
    assert "wrong" not in said
    configure(clone, local=True, password=PASSWORD)
    require_same(clone, project)

    for one in (project, clone):
        assert files_with(one.folder, PASSWORD) == {".dvc/config.local"}
        assert ".dvc/config.local" not in seen_by_git(one)
