"""Identity of weights files, known before any is loaded."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from open_clip.openai import list_openai_models
from open_clip.pretrained import get_pretrained_url

from reclip.common.errors import ReclipError
from reclip.config.models import ClipSettings, DistillSettings
from reclip.weights import identity, releases


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in another folder, because checksums are cached in the project's."""
    monkeypatch.chdir(tmp_path)


def safetensors(path: Path, header: bytes) -> Path:
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


SEEDED = b'{"__metadata__": {"origin": "seeded random numbers,\\n not trained"}}'


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_openais_releases_are_those_of_open_clips_table():
    urls = {
        model: get_pretrained_url(model, "openai")
        for model in list_openai_models()
        if not model.endswith("-quickgelu")
    }
    assert {model: release.url for model, release in releases.OPENAI.items()} == urls


def test_openais_rows():
    for model, release in releases.OPENAI.items():
        assert release.title == f"OpenAI's {model}"
        assert re.fullmatch("[0-9a-f]{64}", release.sha256)
        assert release.url.split("/")[-2:] == [release.sha256, release.file]
    assert releases.OPENAI["ViT-B-16"].sha256.startswith("5806e77cd80f8b59890b7e101eabd078")
    assert releases.clip_release("ViT-L-14-336-quickgelu").file == "ViT-L-14-336px.pt"
    assert releases.clip_release("ViT-H-14") is None


def test_describe_clip(tmp_path, monkeypatch):
    def said(**settings) -> str:
        return identity.describe(ClipSettings(**settings))

    assert said(model="mini-clip") == (
        "The CLIP weights are the packaged mini-clip, trained on drawn scenes."
    )
    by_tag = "The CLIP weights are OpenAI's ViT-B-16."
    assert said(pretrained="openai") == by_tag
    assert said(model="ViT-B-16-quickgelu", pretrained="openai") == by_tag
    assert said(pretrained="laion2b_s34b_b88k") == (
        "The CLIP weights are open_clip's ViT-B-16 with the tag laion2b_s34b_b88k."
    )
    path = safetensors(tmp_path / "own.safetensors", SEEDED)
    assert said(checkpoint=str(path)) == (
        f"The CLIP weights are own.safetensors, sha256 {sha(path)[:12]}:"
        " seeded random numbers, not trained."
    )
    known = releases.Release("OpenAI's ViT-B-16", "ViT-B-16.pt", "https://example.org", sha(path))
    monkeypatch.setitem(releases.OPENAI, "ViT-B-16", known)
    assert said(checkpoint=str(path)) == by_tag


def test_describe_backbone(tmp_path):
    def said(**settings) -> str:
        return identity.describe_backbone(DistillSettings(**settings))

    start = "The student's backbone, resnet50c, starts from"
    assert said() == f"{start} timm's pretrained weights."
    assert said(pretrained=False) == f"{start} random numbers."
    path = tmp_path / "own.pth"
    path.write_bytes(b"weights")
    assert said(checkpoint=str(path)) == f"{start} own.pth, sha256 {sha(path)[:12]}."
    with pytest.raises(
        ReclipError, match=r"gone\.pth': download https://\S+/resnet50_v1c-2cccc1ad"
    ):
        said(checkpoint="gone.pth")


@pytest.mark.parametrize(
    "header",
    [
        b"{}",
        b"[]",
        b'{"__metadata__": {}}',
        b'{"__metadata__": {"origin": ""}}',
        b'{"__metadata__": {"origin": 3}}',
        b"\xff",
        b"{",
    ],
)
def test_files_without_an_origin(tmp_path, header):
    assert identity.safetensors_origin(safetensors(tmp_path / "x.safetensors", header)) is None


def test_files_of_other_formats_have_no_origin(tmp_path):
    for content in (b"", b"PK", b"\x80\x02 a pickle of some length", b"plain words"):
        (tmp_path / "x.pt").write_bytes(content)
        assert identity.safetensors_origin(tmp_path / "x.pt") is None


def test_a_published_name_needs_the_published_checksum(tmp_path):
    for name, url in (
        ("ViT-B-16.pt", "openaipublic"),
        ("resnet50_v1c-2cccc1ad.pth", "download.openmmlab.com"),
    ):
        path = tmp_path / name
        with pytest.raises(
            ReclipError, match=rf"no file '{path}': download https://{url}\S+{name}"
        ):
            identity.weights_sha256(str(path), "distill.checkpoint")
        path.write_bytes(b"cut")
        with pytest.raises(ReclipError, match=rf"'{path}' is named like .* https://{url}\S+ again"):
            identity.weights_sha256(str(path), "distill.checkpoint")
        assert identity.weights_sha256(str(path.rename(tmp_path / "own.pt")), "key") == (
            hashlib.sha256(b"cut").hexdigest()
        )


def test_packaged_weights_match_their_card():
    clip = ClipSettings(model="mini-clip")
    assert identity.checkpoint_sha256(clip) == sha(identity.PACKAGED / "mini-clip.safetensors")


def test_imports_no_torch():
    code = (
        "import sys; from reclip.weights import identity, releases;"
        "assert not {'torch', 'open_clip', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
