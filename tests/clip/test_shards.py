"""Which photos a shard holds, which shards a share has, and what is removed of other settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from reclip.clip.shards import (
    SHARD_BYTES,
    SHARD_PHOTOS,
    ShardFolder,
    Share,
    cut,
    photos_a_shard,
)
from reclip.common.errors import ReclipError


def test_each_photo_is_in_one_shard() -> None:
    shards = cut("train", 10, 4)
    assert [(s.name, s.start, s.stop) for s in shards] == [
        ("train-00000", 0, 4), ("train-00001", 4, 8), ("train-00002", 8, 10),
    ]  # fmt: skip
    assert cut("val", 0, 4) == []


def test_a_shard_has_at_most_a_gibibyte_unless_one_photo_has_more() -> None:
    assert photos_a_shard(5e6) == SHARD_BYTES // 5_000_000 == 214
    assert photos_a_shard(1) == SHARD_PHOTOS
    assert photos_a_shard(0) == SHARD_PHOTOS  # an empty split
    assert photos_a_shard(5e9) == 1


@pytest.mark.parametrize("photos", [0, 1, 5, 16, 17])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 40])
def test_all_shares_together_have_each_shard_once(photos: int, count: int) -> None:
    shards = cut("train", photos, 1)
    parts = [Share(number, count).of(shards) for number in range(1, count + 1)]
    assert [shard for part in parts for shard in part] == shards
    sizes = {len(part) for part in parts}
    assert max(sizes) - min(sizes) <= 1


def test_a_share_is_read_as_written() -> None:
    assert Share.parse("2/8") == Share(2, 8)
    for text in ("0/8", "9/8", "2", "a/b", "-1/2", "2/8/9", "2 / 8", ""):
        with pytest.raises(ReclipError, match="is no share: give e.g. 2/8"):
            Share.parse(text)


def test_only_our_own_names_of_other_settings_are_removed(tmp_path: Path) -> None:
    ours = ShardFolder(tmp_path, "a" * 64)
    (shard,) = cut("train", 1, 1)
    theirs = {
        "shards-0123456789abcdef/train-00000/notes.txt",
        "shards-0123456789abcdef/train-00000/views.npy.bak",
        "shards-0123456789abcdef/mine/views.npy",
        "shards-old/train-00000/views.npy",
        "shards-0123456789abcdef0/train-00000/views.npy",
        "shards-fedcba9876543210",  # a file
    }
    kept = {*theirs, f"{ours.path.name}/train-00000/views.npy"}
    removed = {
        "shards-0123456789abcdef/train-00000/views.npy",
        "shards-0123456789abcdef/train-00000/.views.host.reclip-7.partial.npy",
        "shards-0123456789abcdef/val-00012/tokens.npy",
        "shards-0123456789abcdef/val-00012/.done.checkpoint",
        "shards-0123456789abcdef/.share-1-of-2.checkpoint",
    }
    for name in (*kept, *removed):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    ours.remove_others()
    found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == kept
    assert not (tmp_path / "shards-0123456789abcdef/val-00012").exists()  # it was empty
    assert not ours.done(shard)


def test_a_shard_is_done_only_with_its_mark_and_all_its_files(tmp_path: Path) -> None:
    folder = ShardFolder(tmp_path, "a" * 64)
    (shard,) = cut("val", 1, 1)
    folder.of(shard).mkdir(parents=True)
    for path in folder.files(shard):
        path.touch()
    assert not folder.done(shard)
    folder.mark_done(shard)
    assert folder.done(shard)
    folder.mark_share(Share(1, 2))
    folder.forget([shard])
    assert not folder.done(shard)
    assert sorted(p.name for p in folder.path.rglob("*") if p.is_file()) == [
        "global.npy", "tokens.npy",
    ]  # fmt: skip
