"""An SSH server on this machine with a key of its own; nothing of the person who tests is used."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
KEYGEN = shutil.which("ssh-keygen")
PRIVILEGES = Path("/run/sshd")
"""Folder that root's sshd wants; Debian's service creates it when it starts."""


@dataclass(frozen=True)
class Server:
    """A running server: its port, and the private key that may log in as `user`."""

    port: int
    key: Path
    user: str


def installed() -> bool:
    return bool(SSHD and KEYGEN)


def make_key(path: Path) -> Path:
    """Write a private key without a passphrase, and its public key beside it."""
    subprocess.run([KEYGEN, "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Start a server whose keys, settings and log lie in `folder`; stop it by its process."""
    host_key, key = make_key(folder / "host_key"), make_key(folder / "key")
    (folder / "authorized").write_bytes(key.with_suffix(".pub").read_bytes())
    port = _free_port()
    config = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": host_key,
        "AuthorizedKeysFile": folder / "authorized",
        "PidFile": "none",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "StrictModes": "no",  # anybody may write into the temporary folder above
        "Subsystem": "sftp internal-sftp",
    }
    text = "".join(f"{key} {value}\n" for key, value in config.items())
    (folder / "sshd_config").write_text(text, encoding="utf-8")
    made = os.geteuid() == 0 and not PRIVILEGES.exists()
    if made:
        PRIVILEGES.mkdir(mode=0o755)
    log = folder / "log"
    command = [SSHD, "-D", "-f", folder / "sshd_config", "-E", log]
    server = subprocess.Popen(command)
    try:
        _wait_for(port, server, log)
        yield Server(port, key, getpass.getuser())
    finally:
        server.terminate()
        server.wait()
        if made:
            PRIVILEGES.rmdir()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port: int, server: subprocess.Popen, log: Path, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        said = log.read_text(encoding="utf-8") if log.is_file() else ""
        assert server.poll() is None and time.monotonic() < end, f"sshd did not start: {said}"
        time.sleep(0.05)
