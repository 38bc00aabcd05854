"""No password in anything that is kept or shown; a DVC remote's is workflow/test_dvc_webdav's."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from reclip.common.errors import ReclipError
from reclip.common.passwords import without_password
from reclip.config.load import validate
from reclip.config.params import Params
from reclip.data.download.locate import local_or_download
from reclip.tracking import records
from reclip.tracking import server as tracking_store
from reclip.versioning.dvc import sentence
from reclip.versioning.record import SECRET
from support.mlflow_results import finish_evaluation, write_params
from support.mlflow_servers import answering, free_port

PASSWORD = "hush-8431"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to http://me:hush@host/x failed", "to http://host/x failed"),
        ("'postgresql://me:hu@sh@host:5432/x'", "'postgresql://host:5432/x'"),
        ("https://token@host and ssh://a:b@c", "https://host and ssh://c"),
        ("https://host/x.tar?id=3&access_token=hush&a=1", "https://host/x.tar?id=3&&a=1"),
        ("https://host/x?X-Amz-Signature=ab%2F&sig=hush", "https://host/x?&"),
        ("https://host/~me/x@v1.tar?design=a", "https://host/~me/x@v1.tar?design=a"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
    ],
)
def test_what_is_shown_of_an_address(text: str, shown: str) -> None:
    assert without_password(text) == shown


def test_an_error_of_dvc_shows_no_password() -> None:
    assert "hu" not in sentence("ERROR: unexpected error - https://me:hu@sh@host/x: 500")


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("password = hush", True), ("secret_access_key = hush", True), ("sas_token = a", True),
        ("connection_string = AccountKey=hush", True), ("gdrive_client_secret = a", True),
        ("url = webdavs://me:hu@sh@host/x", True), ("url = s3://bucket/x", False),
        ("ask_password = true", False), ("user = me", False), ("access_key_id = AKIA", False),
        ("url = ssh://me@host/x", False), ("keyfile = ~/.ssh/id", False),
    ],
)  # fmt: skip
def test_what_the_tracked_config_of_dvc_may_hold(line: str, secret: bool) -> None:
    assert bool(SECRET.search(f"[core]\n    {line}\n")) is secret


def reclip(*arguments: str, code: int, **environment: str) -> str:
    """What the command says, which is no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "reclip", *arguments], text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == code and "Traceback" not in done.stdout, done.stdout
    return done.stdout


def files_with_password(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path.name for path in files if PASSWORD[:4].encode() in path.read_bytes()]


ADDRESS = f"https://me:{PASSWORD}@host/archive.tar"


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"datasets": {"voc": {"source": {"kind": "voc", "archive": ADDRESS}}}}, "source.archive"),
        (
            {"datasets": {"voc": {"source": {"kind": "context", "labels": f"{ADDRESS}?a"}}}},
            "source.labels",
        ),
        ({"tracking": {"uri": ADDRESS}}, "tracking.uri"),
        ({"downloads": {"at": ADDRESS}}, "downloads"),  # of a wrong kind
        ({"tracking": {"uri": f"http://host/?api_key={PASSWORD}"}}, "tracking.uri"),
    ],
)
def test_no_settings_with_a_password(tiny_params, section: dict, key: str) -> None:
    params = tiny_params()
    if "datasets" in section:
        params["datasets"] = {}
    with pytest.raises(ReclipError) as told:
        validate(Params, {**params, **section})
    assert key in str(told.value) and "\n" not in told.value.args[0]
    assert "hush" not in str(told.value) and "hush" not in str(told.value.__cause__)


def test_a_refused_password_is_in_no_log_either(project: Path) -> None:
    said = reclip("init", "voc", "--archive", ADDRESS, "--output", "voc.yaml", code=1)
    assert "holds a password or key" in said and "~/.netrc" in said and "hush" not in said
    assert (project / "logs/reclip-errors.log").is_file()
    assert files_with_password(project) == [] and not (project / "voc.yaml").exists()


@pytest.fixture
def guarded() -> Iterator[str]:
    """The address of an archive for which one has to say who one is."""
    wanted = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers.get("Authorization") == wanted
            self.send_response(200 if allowed else 401)
            self.end_headers()
            self.wfile.write(b"archive" * allowed)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/archive.tar"
    server.shutdown()
    server.server_close()


def test_a_download_takes_its_password_from_netrc(guarded, tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ReclipError, match="answers 401"):
        local_or_download(guarded, None, tmp_path / "downloads")
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login me password {PASSWORD}\n")
    path = local_or_download(guarded, None, tmp_path / "downloads")
    assert path.read_bytes() == b"archive"
    assert files_with_password(tmp_path) == ["netrc"] and "hush" not in caplog.text


def test_a_store_with_a_password_is_told_to_nobody(project: Path, tiny_params) -> None:
    """Its address comes by the environment; it fails, so that all is said that can be."""
    plan = write_params(yaml.safe_dump(tiny_params({"tracking": {"enabled": True}})))
    finish_evaluation(plan.job("evaluate", "query"))
    asked = []

    def fail(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers.get("Authorization"))
        handler.send_error(500, explain=f"no such store: http://me:{PASSWORD}@host")

    with answering(fail) as uri:
        secret = uri.replace("://", f"://me:{PASSWORD}@")
        assert tracking_store.answers(secret)
        patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        said = reclip("sync-mlflow", code=1, MLFLOW_TRACKING_URI=secret, **patience)
    assert f"nothing was logged to {uri} (" in said and "hush" not in said
    assert asked and all(asked)  # MLflow was told
    gone = f"http://me:{PASSWORD}@127.0.0.1:{free_port()}"
    said = reclip("prepare", "--dataset", "voc", code=0, MLFLOW_TRACKING_URI=gone)
    assert "was not logged to http://127.0.0.1:" in said and "hush" not in said
    assert (project / "logs/reclip-errors.log").is_file()
    assert files_with_password(project) == []


def test_records_hold_nothing_of_the_environment(project: Path, tiny_plan, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ADDRESS)
    plan = tiny_plan()
    job = finish_evaluation(plan.job("evaluate", "query"))
    assert "hush" not in repr([records.parent(plan, job), records.child(plan, job)])
