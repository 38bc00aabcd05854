"""The part of Kubernetes' API that Snakemake uses, on this machine; pods are processes.

A pod runs its container's command with the container's environment, in an empty folder, as in a
cluster. A volume is not mounted: the test has it at the path that the pod would see.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

JOBS = "/apis/batch/v1/namespaces/{}/jobs"
CORE = "/api/v1/namespaces/{}"
OVERCOMMITTED = ("cpu", "memory", "ephemeral-storage")
"""Resources that may be requested without a limit; others, such as GPUs, may not."""


@dataclass
class Pod:
    """A pod of one container: the job it belongs to, and its process."""

    manifest: dict
    process: subprocess.Popen
    log: Path

    @property
    def container(self) -> dict:
        (container,) = self.manifest["spec"]["template"]["spec"]["containers"]
        return container

    @property
    def status(self) -> dict:
        """The status of the job."""
        code = self.process.poll()
        counts = {None: {"active": 1}, 0: {"succeeded": 1}}
        return counts.get(code, {"failed": 1})

    def described(self, name: str) -> dict:
        code = self.process.poll()
        state = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
        one = {"name": "snakemake", "state": state, "image": "", "imageID": "", "ready": True}
        return {
            "metadata": {"name": f"{name}-pod"},
            "status": {"containerStatuses": [{**one, "restartCount": 0}]},
        }


@dataclass
class Cluster:
    """What the API was told.

    Attributes:
        folder: for logs, and for the pods' own files.
        env: the environment of the image, to which that of the container is added.
        jobs: the pods that are there.
        manifests: those of all jobs that were ever created.
        secrets: their data, by name.
        needs: memory in MB below which a container is killed.
    """

    folder: Path
    env: dict[str, str]
    jobs: dict[str, Pod] = field(default_factory=dict)
    manifests: list[dict] = field(default_factory=list)
    secrets: dict[str, dict] = field(default_factory=dict)
    needs: int = 0

    def create(self, manifest: dict) -> tuple[int, dict]:
        """Start a job's pod, or refuse it as Kubernetes does."""
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        if refused := invalid(manifest):
            return 422, {"message": refused}
        name = manifest["metadata"]["name"]
        memory = int(container["resources"]["limits"]["memory"].removesuffix("M"))
        command = [*container["command"], *container["args"]]
        if memory < self.needs:
            command = ["sh", "-c", "echo Killed; exit 137"]
        own = Path(tempfile.mkdtemp(dir=self.folder))
        with open(own / "log", "wb") as log:
            process = subprocess.Popen(
                command,
                cwd=own,
                env={**self.env, **self._secrets_of(container), "HOME": str(own)},
                stdout=log,
                stderr=log,
            )
        self.jobs[name] = Pod(manifest, process, own / "log")
        self.manifests.append(manifest)
        return 201, manifest

    def _secrets_of(self, container: dict) -> dict[str, str]:
        refs = {e["name"]: e["valueFrom"]["secretKeyRef"] for e in container.get("env") or ()}
        found = {name: self.secrets[ref["name"]][ref["key"]] for name, ref in refs.items()}
        return {name: base64.b64decode(value).decode() for name, value in found.items()}

    def log_of(self, pod: str, *, previous: bool) -> tuple[int, dict | str]:
        if previous:  # no container is ever restarted
            said = f'previous terminated container "snakemake" in pod "{pod}" not found'
            return 400, {"message": said}
        return 200, self.jobs[pod.removesuffix("-pod")].log.read_text(encoding="utf-8")

    def delete(self, job: str) -> tuple[int, dict]:
        pod = self.jobs.pop(job, None)
        if pod is None:
            return 404, {"message": "not found"}
        if pod.process.poll() is None:
            pod.process.terminate()
        pod.process.wait()
        return 200, {}

    def answer(self, method: str, url: str, body: dict) -> tuple[int, dict | str]:
        path, query = urlsplit(url).path, parse_qs(urlsplit(url).query)
        namespace = re.search(r"/namespaces/([^/]+)", path)[1]
        kind, *rest = path.partition(f"/namespaces/{namespace}/")[2].split("/")
        match method, kind, rest:
            case "POST", "jobs", []:
                return self.create(body)
            case "GET", "jobs", [name, "status"] if name in self.jobs:
                return 200, {"metadata": {"name": name}, "status": self.jobs[name].status}
            case "DELETE", "jobs", [name]:
                return self.delete(name)
            case "GET", "pods", []:
                name = query["labelSelector"][0].removeprefix("job-name=")
                found = [self.jobs[name].described(name)] if name in self.jobs else []
                return 200, {"items": found}
            case "GET", "pods", [pod, "log"]:
                return self.log_of(pod, previous=query.get("previous") == ["True"])
            case "DELETE", "pods", [_]:
                return 200, {}
            case "POST", "secrets", []:
                self.secrets[body["metadata"]["name"]] = body["data"]
                return 201, body
            case "DELETE", "secrets", [name]:
                self.secrets.pop(name, None)
                return 200, {}
        return 404, {"message": f"{method} {path}"}


def invalid(manifest: dict) -> str | None:
    """Return why Kubernetes refuses a job; None if it accepts it."""
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    requests = container["resources"].get("requests", {})
    limits = container["resources"].get("limits", {})
    for name in requests.keys() - {*OVERCOMMITTED, *limits}:
        return f"{name}: Limit must be set for non overcommitable resources"
    for name in requests.keys() & limits:
        if name not in OVERCOMMITTED and requests[name] != limits[name]:
            return f"{name}: request and limit must be equal"
    missing = {m["name"] for m in container["volumeMounts"]} - {v["name"] for v in pod["volumes"]}
    return f"volume not found: {missing}" if missing else None


@contextmanager
def serve(cluster: Cluster) -> Iterator[Path]:
    """Serve the API; yield the kubeconfig file that leads to it. Ends all pods."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or "{}")
            code, said = cluster.answer(self.command, self.path, body)
            text = said if isinstance(said, str) else json.dumps(said)
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = do

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = cluster.folder / "kubeconfig"
    address = f"http://127.0.0.1:{server.server_address[1]}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": address}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    }
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        yield config
    finally:
        server.shutdown()
        server.server_close()
        for job in list(cluster.jobs):
            cluster.delete(job)
