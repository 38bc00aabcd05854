"""Results to a WebDAV server and back; neither git nor MLflow sees its password."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cheroot.wsgi import Server
from wsgidav.wsgidav_app import WsgiDAVApp

from support.stand_ins import SMALL, Project, make_project

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


def give_password(project: Project, password: str = PASSWORD) -> None:
    for key, value in {"user": USER, "password": password}.items():
        project.run("dvc", "remote", "modify", "--local", "store", key, value)


def files_with(folder: Path, text: str) -> set[str]:
    found = {path for path in folder.rglob("*") if path.is_file()}
    return {str(p.relative_to(folder)) for p in found if text.encode() in p.read_bytes()}


def test_there_and_back_and_the_password_is_seen_nowhere(url, tmp_path, tiny_params):
    params = tiny_params({**SMALL, "tracking": {"enabled": True, "uri": "sqlite:///mlflow.db"}})
    project = replace(make_project(tmp_path / "project", params), forked=True)  # sooner, forks.py
    project.use_remote(url)
    give_password(project)
    project.make_all()
    project.run("reclip", "prepare", "--dataset", "voc", "--force")  # which MLflow logs
    assert (project.folder / "mlflow.db").is_file()
    assert "dvc push" in project.run("reclip", "record")
    project.commit()
    project.run("dvc", "push")

    clone = project.clone(tmp_path / "clone")
    give_password(clone, "wrong")
    said = clone.run("reclip", "restore", check=False)
    assert "refuses the user or password in .dvc/config.local" in said.splitlines()[-1]
    assert "wrong" not in said and "Traceback" not in said
    give_password(clone)
    clone.run("reclip", "restore")
    assert clone.bytes() == project.bytes()
    assert clone.planned() == set()
    assert "up to date" in clone.run("dvc", "status")

    for one in (project, clone):
        assert files_with(one.folder, PASSWORD) == {".dvc/config.local"}
        assert ".dvc/config.local" not in one.run("git", "ls-files", "--others", "--cached",
                                                  "--exclude-standard")  # fmt: skip
