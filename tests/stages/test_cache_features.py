"""Stage cache-features: windows, image-level features and views are read back as computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reclip.clip import shards, window_vectors
from reclip.clip.dense import dense_features
from reclip.clip.extract import centre_crop_embedding, require_usable
from reclip.clip.feature_cache import FeatureCache
from reclip.common.errors import ReclipError
from reclip.config.models import ClipSettings, ComputeSettings, ImageSettings, ViewSettings
from reclip.data.images import write_image
from reclip.data.index import Item, write_dataset
from reclip.data.reading import resize_image, whole_size, windows
from reclip.data.views import normalise
from reclip.data.window_grid import WindowGrid
from reclip.pipeline.job import Job
from reclip.stages import cache_features
from support.tiny_clip import tiny_clip

SIZES = [(40, 56), (40, 56), (25, 33), (64, 30)]
GRID = WindowGrid(window=26, stride=9)
WINDOWS = [2 * 4, 2 * 4, 1, 5]  # of the photos; rows by columns


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`cached(image=…, hypothesis_image=…, dtype=…)`: the cache, its photos and the CLIP.

    `cached.made`: the shards that were computed.
    """
    clip = tiny_clip()
    monkeypatch.setattr(cache_features, "load_clip", lambda settings, device: clip)
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]
    items = []
    for k, photo in enumerate(photos):
        path = tmp_path / f"{k}.png"
        write_image(path, photo)
        items.append(Item(f"p{k}", path, *photo.shape[:2], path))
    write_dataset(tmp_path / "data", {"names": [["a"], ["b"]]}, items, items)

    def run(
        image=None,
        hypothesis_image="whole",
        dtype="float32",
        shares=(),
        folder="features",
        stop=99,
        loaders=0,
    ):
        """shares: to make first, such as "1/2"; stop: the process dies after so many shards."""
        plans = tmp_path / "plan"
        job = Job(
            "cache-features",
            "voc",
            tmp_path / folder,
            plans,
            inputs={"data": Job("prepare", "voc", tmp_path / "data", plans, {})},
            settings={
                "clip": ClipSettings(cache_dtype=dtype, residual=False, mlp=False),
                "image": image or ImageSettings(),
                "views": ViewSettings(count=2, crop=32, photometric=False),
                "hypothesis_image": hypothesis_image,
                **({"hypothesis_windows": GRID} if hypothesis_image == "windows" else {}),
                "compute": ComputeSettings(device="cpu", loaders=loaders),
            },
        )
        mark_done, left = shards.ShardFolder.mark_done, iter(range(stop))

        def mark(self, shard):
            if next(left, None) is None:
                raise KeyboardInterrupt
            mark_done(self, shard)
            made.append(shard.name)

        made = run.made = []
        monkeypatch.setattr(shards.ShardFolder, "mark_done", mark)
        try:
            for share in shares:
                cache_features.make_share(job, shards.Share.parse(share))
            cache_features.main(job)
        finally:
            monkeypatch.setattr(shards.ShardFolder, "mark_done", mark_done)
        return FeatureCache(job.folder), photos, clip

    return run


def plain(clip, photo: np.ndarray, with_global: bool = False):
    image = normalise(photo, "clip")[None]
    with torch.inference_mode():
        return dense_features(clip, image, residual=False, mlp=False, with_global=with_global)


def sizes_of(folder: Path) -> dict[str, int]:
    """The bytes of the arrays of tokens without their header of 128 bytes, by name."""
    (shards,) = folder.glob("shards-*")
    found = [*shards.rglob("tokens.npy"), *shards.rglob("views.npy")]
    return {f"{p.parent.name}/{p.name}": p.stat().st_size - 128 for p in found}


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_whole_image_is_one_piece(cached, split) -> None:
    features, photos, clip = cached()
    vectors = torch.cat(list(features.globals(split)))
    for i, photo in enumerate(photos):
        ((window, z),) = features.pieces(split, i)
        assert window == (0, 0, *photo.shape[:2])
        expected, vector = plain(clip, photo, with_global=True)
        torch.testing.assert_close(z, expected[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(vectors[i], vector[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("short_side", [None, 48])
def test_each_window_has_its_own_features(cached, short_side) -> None:
    image = ImageSettings(protocol="slide", window=32, stride=20, short_side=short_side)
    features, photos, clip = cached(image)
    vectors = torch.cat(list(features.globals("val")))
    for i, photo in enumerate(photos):
        read = resize_image(photo, whole_size(*photo.shape[:2], image))
        pieces = features.pieces("val", i)
        assert [w for w, _ in pieces] == windows(read.shape[:2], image)
        for (top, left, height, width), z in pieces:
            expected, _ = plain(clip, read[top : top + height, left : left + width])
            torch.testing.assert_close(z, expected[0], rtol=0, atol=1e-5)
        # What the image is supposed to hold is still asked of the whole image.
        _, vector = plain(clip, read, with_global=True)
        torch.testing.assert_close(vectors[i], vector[0], rtol=0, atol=1e-4)


def test_half_precision_takes_half_the_disk(cached) -> None:
    full, _, _ = cached()
    before = full.pieces("val", 0)[0][1]
    sizes = sizes_of(full.folder)
    half, _, _ = cached(dtype="float16")
    assert sizes_of(half.folder) == {name: size // 2 for name, size in sizes.items()}
    torch.testing.assert_close(half.pieces("val", 0)[0][1], before, rtol=0, atol=2e-3)


def test_centre_crops_do_not_see_the_edges(cached) -> None:
    features, photos, clip = cached(hypothesis_image="centre_crop")
    wide = photos[0].copy()
    wide[:, :4] = wide[:, -4:] = 0  # beyond the middle square
    square = centre_crop_embedding(clip, wide)
    (vectors,) = features.globals("train")
    torch.testing.assert_close(vectors[0], square, rtol=0, atol=1e-5)
    changed = photos[0].copy()
    changed[:, 20:36] = 0
    assert not torch.allclose(centre_crop_embedding(clip, changed), square)


@pytest.mark.parametrize("split", ["train", "val"])
def test_each_window_of_the_photo_has_clips_own_embedding(cached, split) -> None:
    """Whatever the precision of the cache, the size and the tower that dense features are read at.

    A photo that is smaller than a window is one.
    """
    features, photos, clip = cached(
        ImageSettings(short_side=16), hypothesis_image="windows", dtype="float16"
    )
    found = list(features.window_globals(split))
    assert [len(vectors) for vectors in found] == WINDOWS
    for photo, vectors in zip(photos, found, strict=True):
        height, width = photo.shape[:2]
        corners = [
            (top, left)
            for top in range(0, max(1, height - 26), 9)
            for left in range(0, max(1, width - 26), 9)
        ]
        for (top, left), vector in zip(corners, vectors, strict=True):
            alone = centre_crop_embedding(clip, photo[top : top + 26, left : left + 26])
            torch.testing.assert_close(vector, alone, rtol=0, atol=1e-4)


def test_windows_are_computed_in_batches_and_photos_read_once(cached, monkeypatch) -> None:
    read, sizes = [], []
    embed, read_image = window_vectors._embed, window_vectors.read_image

    def counted(clip, images):
        sizes.append(len(images))
        return embed(clip, images)

    monkeypatch.setattr(window_vectors, "_embed", counted)
    monkeypatch.setattr(
        window_vectors, "read_image", lambda path: read.append(path.name) or read_image(path)
    )
    alone = content(cached(hypothesis_image="windows")[0].folder)
    assert read == [f"{k}.png" for k in range(4)] * 2
    assert sizes == [sum(WINDOWS)] * 2
    monkeypatch.setattr(window_vectors, "TOKENS_A_BATCH", 5 * 4**2)  # of five windows
    sizes.clear()
    features, _, _ = cached(hypothesis_image="windows", loaders=3, folder="ahead")
    assert sizes == [5, 5, 5, 5, 2] * 2
    path = next(name for name in alone if name.endswith("val-00000/global.npy"))
    before, after = (np.load(features.folder.parent / f / path) for f in ("features", "ahead"))
    np.testing.assert_allclose(before, after, rtol=0, atol=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("tensor", ["proj", "ln_post.bias"])
@pytest.mark.parametrize("hypothesis_image", ["whole", "centre_crop", "windows"])
def test_features_that_are_no_numbers_are_not_cached(cached, value, tensor, hypothesis_image):
    _, _, clip = cached()
    with torch.no_grad():
        clip.model.visual.get_parameter(tensor).fill_(value)
    if (value, tensor) == (0.0, "ln_post.bias"):  # a bias of zero is no fault
        cached(hypothesis_image=hypothesis_image)
        return
    words = r"CLIP's features of '.*/0\.png' are no usable numbers .* Check the CLIP weights"
    with pytest.raises(ReclipError, match=words):
        cached(hypothesis_image=hypothesis_image)


def test_the_photo_whose_features_are_no_numbers_is_named() -> None:
    tokens = torch.nn.functional.normalize(torch.ones(3, 2, 2, 4), dim=-1)
    vectors = torch.ones(3, 4)
    require_usable(tokens, vectors, ["a", "b", "c"])
    tokens[1, 0, 0, 0] = float("nan")
    with pytest.raises(ReclipError, match="features of 'b'"):
        require_usable(tokens, vectors, ["a", "b", "c"])
    vectors[0, 3] = float("-inf")
    with pytest.raises(ReclipError, match="features of 'a'"):
        require_usable(None, vectors, ["a", "b", "c"])


# ---------------------------------------------------------------- shards

ALL = ["train-00000", "train-00001", "val-00000", "val-00001"]


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of the four photos in a shard."""
    monkeypatch.setattr(shards, "SHARD_PHOTOS", 3)


def content(folder: Path) -> dict[str, bytes]:
    """The content of each file, hidden ones as well."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_small_sets_are_one_shard(cached) -> None:
    features, _, _ = cached()
    assert cached.made == ["train-00000", "val-00000"]
    (folder,) = features.folder.glob("shards-*")
    assert sorted(p.name for p in folder.iterdir()) == cached.made


@pytest.mark.parametrize("protocol", ["whole", "slide"])
def test_shards_hold_the_same_features_as_one(cached, monkeypatch, protocol: str) -> None:
    image = ImageSettings(protocol=protocol, window=32, stride=20)
    one, photos, _ = cached(image, folder="one")
    monkeypatch.setattr(shards, "SHARD_PHOTOS", 3)
    several, _, _ = cached(image, folder="several")
    assert cached.made == ALL
    rows = np.array([3, 0, 2])
    for number in range(2):
        for a, b in zip(
            one.view_batch(number, rows), several.view_batch(number, rows), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    for split in ("train", "val"):
        assert list(several.ids(split)) == list(one.ids(split)) == ["p0", "p1", "p2", "p3"]
        parts = list(several.globals(split))
        assert [len(part) for part in parts] == [3, 1]
        torch.testing.assert_close(torch.cat(parts), next(one.globals(split)), rtol=0, atol=1e-4)
        for i in range(len(photos)):
            assert several.size(split, i) == one.size(split, i)
            pairs = zip(one.pieces(split, i), several.pieces(split, i), strict=True)
            for (window, z), (same_window, same) in pairs:
                assert window == same_window
                torch.testing.assert_close(z, same, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["whole", "windows"])
@pytest.mark.parametrize(
    "shares", [("1/1",), ("2/2", "1/2"), ("1/9", "4/9", "5/9", "9/9"), ("2/3",)]
)
def test_any_number_of_jobs_leads_to_the_same_bytes(cached, small_shards, shares, kind) -> None:
    """Also where a share is missing, or made twice."""
    expected = content(cached(hypothesis_image=kind, folder="alone")[0].folder)
    twice = (*shares, shares[0])
    found = content(cached(hypothesis_image=kind, folder="shared", shares=twice)[0].folder)
    assert found == expected
    assert sorted(cached.made) == ALL  # each was computed once


def test_a_share_makes_its_part_and_no_receipt(cached, small_shards) -> None:
    with pytest.raises(KeyboardInterrupt):  # before main computes anything
        cached(shares=("2/2",), stop=2)
    assert cached.made == ["val-00000", "val-00001"]


@pytest.mark.parametrize("kind", ["whole", "windows"])
@pytest.mark.parametrize("stop", range(4))
def test_a_killed_run_goes_on_at_its_first_missing_shard(
    cached, small_shards, tmp_path, stop, kind
) -> None:
    expected = content(cached(hypothesis_image=kind, folder="whole")[0].folder)
    with pytest.raises(KeyboardInterrupt):
        cached(hypothesis_image=kind, stop=stop)
    assert not (tmp_path / "features/receipt.json").exists()
    found = content(cached(hypothesis_image=kind)[0].folder)
    assert cached.made == ALL[stop:]
    assert found == expected


def test_shards_of_other_settings_are_never_taken(cached, small_shards, tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cached(stop=3)
    own = tmp_path / "features" / "notes.txt"
    own.write_text("mine")
    expected = content(cached(dtype="float16", folder="alone")[0].folder)
    found = content(cached(dtype="float16")[0].folder)
    assert cached.made == ALL
    assert found.pop("notes.txt") == b"mine"
    assert found == expected  # nothing is left of the others


def test_a_complete_cache_is_made_again_if_it_is_asked_for(cached, small_shards) -> None:
    """Its shards may be damaged, which is why someone asks."""
    before = content(cached()[0].folder)
    features, _, _ = cached()
    assert cached.made == ALL and content(features.folder) == before
