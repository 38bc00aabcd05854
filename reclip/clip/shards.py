"""Shards of a feature cache: consecutive photos of a split, in a folder of their own.

    shards-<digest>/                  of one job's settings; others never read or overwrite it
        train-00000/tokens.npy ...    what `reclip.clip.feature_cache` lists
        train-00000/.done.checkpoint  the shard is complete, but the cache is not yet

Which photos are in a shard depends on the settings and the photos alone, never on the number of
jobs that make the shards. So any number of jobs leads to the same bytes, and no two of them write
one file.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from reclip.common.errors import ReclipError

SHARD_BYTES = 2**30
"""Ours: what a kill can lose is computed again in a minute on a GPU, and 10 million photos still
make no more than some ten thousand folders."""

SHARD_PHOTOS = 4096
"""Ours: bounds the memory for the places of a shard's photos, if these are tiny."""

FILES = {
    "train": ("tokens.npy", "global.npy", "views.npy", "cells.npy"),
    "val": ("tokens.npy", "global.npy"),
}

_FOLDER = re.compile(r"shards-[0-9a-f]{16}")
_SHARD = re.compile(r"(train|val)-\d{5,}")
_OWN = re.compile(
    r"\.done\.checkpoint|\.share-\d+-of-\d+\.checkpoint"
    r"|(tokens|global|views|cells)\.npy|\.(tokens|global|views|cells)\..*\.partial\.npy"
)


class Shard(NamedTuple):
    """Photos `start` to `stop` of a split."""

    split: str
    number: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:05d}"


def photos_a_shard(bytes_a_photo: float) -> int:
    """Return how many photos of this mean size a shard holds."""
    return max(1, min(SHARD_PHOTOS, int(SHARD_BYTES / max(1, bytes_a_photo))))


def cut(split: str, photos: int, step: int) -> list[Shard]:
    """Return the shards of a split, with `step` photos each but for the last one."""
    starts = range(0, photos, step)
    return [Shard(split, k, at, min(at + step, photos)) for k, at in enumerate(starts)]


@dataclass(frozen=True)
class Share:
    """One of `count` jobs that make the shards of a dataset together: number 1 to `count`."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the share that is written as "2/8". Raises ReclipError: it is no share."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ReclipError(f"--share: '{text}' is no share: give e.g. 2/8, the second of eight")
        return cls(int(found[1]), int(found[2]))

    def of(self, shards: list[Shard]) -> list[Shard]:
        """Return the consecutive shards of this share; all shares together have each shard once."""
        start, stop = (len(shards) * k // self.count for k in (self.number - 1, self.number))
        return shards[start:stop]


class ShardFolder:
    """The shards of one job in its folder."""

    def __init__(self, folder: Path, digest: str) -> None:
        self.path = folder / f"shards-{digest[:16]}"

    def of(self, shard: Shard) -> Path:
        return self.path / shard.name

    def files(self, shard: Shard) -> list[Path]:
        return [self.of(shard) / name for name in FILES[shard.split]]

    def done(self, shard: Shard) -> bool:
        """Return whether a job that has no receipt yet completed the shard."""
        return all(path.is_file() for path in (_mark(self.of(shard)), *self.files(shard)))

    def mark_done(self, shard: Shard) -> None:
        _mark(self.of(shard)).touch()

    def share_marker(self, share: Share) -> Path:
        """Return the file that says that a share's shards are complete; Snakemake looks for it."""
        return self.path / f".share-{share.number}-of-{share.count}.checkpoint"

    def mark_share(self, share: Share) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.share_marker(share).touch()

    def forget(self, shards: list[Shard]) -> None:
        """Remove the marks: from now on the cache's receipt says what is complete."""
        for shard in shards:
            _mark(self.of(shard)).unlink(missing_ok=True)
        for path in self.path.glob(".share-*.checkpoint"):
            path.unlink()

    def remove_others(self) -> None:
        """Remove the shards of other settings; files with other names than ours stay."""
        for folder in _folders(self.path.parent, _FOLDER):
            if folder != self.path:
                for inner in _folders(folder, _SHARD):
                    _remove_own(inner)
                _remove_own(folder)


def _mark(folder: Path) -> Path:
    return folder / ".done.checkpoint"


def _folders(parent: Path, name: re.Pattern[str]) -> list[Path]:
    return [path for path in parent.glob("*") if name.fullmatch(path.name) and path.is_dir()]


def _remove_own(folder: Path) -> None:
    for path in list(folder.iterdir()):
        if _OWN.fullmatch(path.name) and path.is_file():
            path.unlink()
    with suppress(OSError):  # another file is in it
        folder.rmdir()
