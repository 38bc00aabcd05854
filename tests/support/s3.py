"""An S3 server on this machine (moto), in the process that tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

KEY, SECRET = "reclip-key", "hush-2718-secret"
"""moto accepts any key."""

ACCOUNT = ("PROFILE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")


def hide_account(monkeypatch: pytest.MonkeyPatch, empty: Path) -> None:
    """Hide the keys of the person who tests from this process and from those that it starts.

    empty: a name for an empty file.
    """
    empty.touch()
    for name in ACCOUNT:
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(empty))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@contextmanager
def buckets(*names: str) -> Iterator[str]:
    """Serve empty buckets; yield the server's address."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    for name in names:
        client(url).create_bucket(Bucket=name)
    yield url
    server.stop()


def client(url: str):
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)


def objects(url: str, bucket: str) -> list[str]:
    """Return the names of all objects in a bucket."""
    pages = client(url).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]
