"""The MLflow store that results are logged to: its address, its health, and its lock."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock

from reclip.pipeline.plan import Plan

HEALTH_SECONDS = 5  # a running server answers at once
LOCK_SECONDS = 120  # eight jobs and a new store take 10 s on two idle cores


def store_uri(plan: Plan) -> str:
    """Return the address of the store: MLFLOW_TRACKING_URI, or else the setting."""
    return os.environ.get("MLFLOW_TRACKING_URI") or plan.params.tracking.uri


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store; None for any other store."""
    path = uri.removeprefix("sqlite:///").partition("?")[0]
    return Path(path) if uri.startswith("sqlite:///") and path not in ("", ":memory:") else None


def answers(uri: str) -> bool:
    """Return whether a server answers, even if it refuses; True for a store without server."""
    if not uri.startswith(("http://", "https://")):
        return True
    import requests

    try:
        address = f"{uri.rstrip('/')}/health"
        requests.get(address, timeout=HEALTH_SECONDS, allow_redirects=False, stream=True).close()
    except requests.exceptions.SSLError:
        return True  # MLflow may know the server's certificate
    except (OSError, ValueError):
        return False
    return True


def lock(uri: str) -> FileLock:
    """Lock the store: looking up a run and creating it must be one step.

    The lock of a SQLite file lies beside it, so all projects respect it. The lock of a server
    holds between the jobs of this project.
    """
    file = sqlite_file(uri)
    path = file.with_name(f"{file.name}.lock") if file else Path("logs") / "mlflow.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, timeout=LOCK_SECONDS)
