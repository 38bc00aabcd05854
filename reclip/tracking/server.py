"""The store that results are logged to: where it is, whether it answers, and whose turn it is."""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path

from reclip.common.passwords import without_password
from reclip.pipeline.plan import Plan

KNOCK_SECONDS = 5  # a server that is there answers at once
LOCK_SECONDS = 120  # eight jobs and a new store take ten, on two idle cores


def store_uri(plan: Plan) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or plan.params.tracking.uri


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for any other."""
    path = uri.removeprefix("sqlite:///").partition("?")[0]
    return Path(path) if uri.startswith("sqlite:///") and path not in ("", ":memory:") else None


def answers(uri: str) -> bool:
    """Whether a server answers at all, if only to refuse; no other kind of store is asked."""
    if not uri.startswith(("http://", "https://")):
        return True
    address = without_password(uri).rstrip("/")  # urllib takes a password for part of the host
    try:
        # Of http or https, as was seen above.
        urllib.request.urlopen(f"{address}/health", timeout=KNOCK_SECONDS).close()  # nosec B310
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # MLflow may know its certificate
    except (OSError, ValueError):
        return False
    return True


def turn(uri: str) -> AbstractContextManager:
    """One writer at a time, for to find a run and to make it belong together.

    A SQLite file is locked beside itself, whoever writes to it. For a server the jobs of this
    project take turns.
    """
    from filelock import FileLock

    file = sqlite_file(uri)
    path = file.with_name(f"{file.name}.lock") if file else Path("logs") / "mlflow.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, timeout=LOCK_SECONDS)
