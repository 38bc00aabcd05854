"""A folder that behaves as on a network share: a file system (FUSE) over a plain folder.

It imitates three traits of NFS and SMB. The server's clock differs from the clients'. Times are
kept in whole seconds or more. A client caches names and attributes, so it sees another client's
files late. Two mounts of one folder are two clients.

Run by the system's Python, for which Debian has `python3-fusepy`:
`/usr/bin/python3 network_share.py '{"folder": ..., "at": ..., "skew": 0, "step": 0, "cache": 0}'`
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PYTHON = "/usr/bin/python3"
SECOND = 1_000_000_000  # ns
NOW, OMIT = (1 << 30) - 1, (1 << 30) - 2
"""Nanoseconds that mean "the server's present time" and "leave as it is" (utimensat)."""


def installed() -> bool:
    """Return whether a share can be mounted here."""
    fuse = os.access("/dev/fuse", os.W_OK) and (os.geteuid() == 0 or shutil.which("fusermount"))
    python = [PYTHON, "-c", "import fusepy"]
    return (
        bool(fuse)
        and os.access(PYTHON, os.X_OK)
        and not subprocess.call(python, stderr=subprocess.DEVNULL)
    )


@contextmanager
def mounted(
    folder: Path, at: Path, *, skew: float = 0, step: float = 0, cache: float = 0
) -> Iterator[Path]:
    """Mount `folder` at the new folder `at`, and unmount it afterwards.

    Args:
        skew: seconds that the server's clock is ahead of this machine's.
        step: the server keeps times as multiples of these seconds; 0 for full precision.
        cache: seconds that a client trusts what it knows of a name: its attributes, or that there
            is none.
    """
    at.mkdir()
    options = {"folder": str(folder), "at": str(at), "skew": skew, "step": step, "cache": cache}
    server = subprocess.Popen([PYTHON, "-W", "ignore", __file__, json.dumps(options)])
    try:
        while not os.path.ismount(at):
            assert server.poll() is None, "the share was not mounted"
            time.sleep(0.02)
        yield at
    finally:
        server.terminate()  # libfuse unmounts
        server.wait()
        while os.path.ismount(at):  # it was in use
            subprocess.run(["umount", "--lazy", at], check=False)


def serve(folder: str, at: str, skew: float, step: float, cache: float) -> None:
    """Mount a share, until this process ends."""
    import fusepy

    ahead, whole = int(skew * SECOND), int(step * SECOND)

    class Share(fusepy.Operations):
        use_ns = True
        flag_utime_omit_ok = 1  # else NOW would not be told from a client's own time

        def __call__(self, name: str, path: str, *rest):
            return getattr(self, name)(folder + path, *rest)

        access = None  # the kernel decides (default_permissions)
        getxattr = listxattr = None
        chmod = staticmethod(os.chmod)
        chown = staticmethod(os.chown)
        mkdir = staticmethod(os.mkdir)
        readlink = staticmethod(os.readlink)
        rmdir = staticmethod(os.rmdir)
        unlink = staticmethod(os.unlink)

        def init(self, path):
            pass

        destroy = init

        def getattr(self, path, handle=None):
            found = os.lstat(path)
            names = [name for name in dir(found) if name.startswith("st_")]
            facts = {name: getattr(found, name) for name in names if not name.endswith("_ns")}
            for name in ("st_mtime", "st_atime", "st_ctime"):
                on_server = getattr(found, f"{name}_ns") + ahead
                facts[name] = on_server - on_server % whole if whole else on_server
            return facts

        def utimens(self, path, times=None):
            found = os.lstat(path)
            was, now = (found.st_atime_ns, found.st_mtime_ns), time.time_ns()
            given = [
                now if t == NOW else old if t == OMIT else t - ahead
                for t, old in zip(times or (NOW, NOW), was, strict=True)
            ]
            os.utime(path, ns=tuple(given), follow_symlinks=False)

        def readdir(self, path, handle):
            return [".", "..", *os.listdir(path)]

        def mknod(self, path, mode, device):
            os.mknod(path, mode, device)

        def symlink(self, path, target):
            os.symlink(target, path)

        def rename(self, path, target):
            os.rename(path, folder + target)

        def link(self, path, target):
            os.link(folder + target, path)

        def statfs(self, path):
            found = os.statvfs(path)
            return {name: getattr(found, name) for name in dir(found) if name.startswith("f_")}

        def open(self, path, flags):
            return os.open(path, flags)

        def create(self, path, mode, info=None):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

        def read(self, path, size, offset, handle):
            return os.pread(handle, size, offset)

        def write(self, path, data, offset, handle):
            return os.pwrite(handle, data, offset)

        def truncate(self, path, length, handle=None):
            os.truncate(path if handle is None else handle, length)

        def flush(self, path, handle):
            pass

        def release(self, path, handle):
            os.close(handle)

        def fsync(self, path, data_only, handle):
            os.fsync(handle)

    trusted = {f"{what}_timeout": cache for what in ("attr", "entry", "negative")}
    fusepy.FUSE(
        Share(), at, foreground=True, default_permissions=True, use_ino=True, **trusted
    )  # fmt: skip


if __name__ == "__main__":
    serve(**json.loads(sys.argv[1]))
