"""`reclip cache-features --share`: a part of the features, which the plain command completes."""

from __future__ import annotations

from pathlib import Path

from support.at_the_shell import Project, reclip, small

SHARE = ("cache-features", "--dataset", "voc", "--share")
WORLD = {"kind": "world", "world": "voc", "train": 3, "val": 2}


def test_a_share_is_completed_by_the_plain_command(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    project = Project(small(WORLD))
    refused = reclip(*SHARE, "1/2")  # before there are photos
    assert refused.code == 1 and "needs prepare voc, which is stale" in refused.err
    project.succeed("prepare", "embed-text")
    folder = project.results / "features/voc"

    assert "is no share: give e.g. 2/8" in reclip(*SHARE, "3/2").err
    assert "leave --force away" in reclip(*SHARE, "1/2", "--force").err
    assert not folder.exists()

    assert reclip(*SHARE, "2/2").out == "cache-features voc: share 2/2\n"
    (shards,) = folder.glob("*")
    assert [path.name for path in shards.iterdir() if path.is_dir()] == ["val-00000"]
    made = (shards / "val-00000/tokens.npy").stat()

    assert reclip(*SHARE[:-1]).code == 0
    assert (shards / "val-00000/tokens.npy").stat().st_mtime_ns == made.st_mtime_ns
    assert reclip(*SHARE, "1/2").out == "cache-features voc: up to date\n"
    shared = project.files()
    project.succeed("cache-features")  # by force, all of it
    assert project.files() == shared
