"""Published weights files: title, file name, address and sha256. Imports no torch."""

from __future__ import annotations

from typing import NamedTuple


class Release(NamedTuple):
    """A published file.

    Attributes:
        sha256: all 64 digits, or the first ones if only those are known.
        model: open_clip's name of a CLIP. quick_gelu: whether a CLIP was trained with QuickGELU.
    """

    title: str
    file: str
    url: str
    sha256: str
    model: str | None = None
    quick_gelu: bool = False


OPENAI = {
    name.removesuffix("px"): Release(
        f"OpenAI's {name.removesuffix('px')}",
        f"{name}.pt",
        f"https://openaipublic.azureedge.net/clip/models/{sha256}/{name}.pt",
        sha256,
        f"{name.removesuffix('px')}-quickgelu",
        quick_gelu=True,
    )
    for name, sha256 in (
        ("RN50", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"),
        ("RN101", "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599"),
        ("RN50x4", "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd"),
        ("RN50x16", "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa"),
        ("RN50x64", "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c"),
        ("ViT-B-32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"),
        ("ViT-B-16", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"),
        ("ViT-L-14", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"),
        ("ViT-L-14-336px", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"),
    )
}
"""OpenAI's CLIPs, by open_clip's name of the model. Source: the addresses in open_clip 3.3.0."""

_OPEN_CLIP = "https://github.com/mlfoundations/open_clip/releases/download/v0.2-weights/"

LAION = [
    Release(f"LAION's {model}", file, f"{_OPEN_CLIP}{file}", digits, model, quick_gelu=quick)
    for model, file, digits, quick in (
        ("ViT-B-32-quickgelu", "vit_b_32-quickgelu-laion400m_e31-d867053b.pt", "d867053b", True),
        ("ViT-B-32-quickgelu", "vit_b_32-quickgelu-laion400m_e32-46683a32.pt", "46683a32", True),
        ("ViT-B-32", "vit_b_32-laion2b_e16-af8dbd0c.pth", "af8dbd0c", False),
        ("ViT-B-16", "vit_b_16-laion400m_e31-00efa78f.pt", "00efa78f", False),
        ("ViT-B-16", "vit_b_16-laion400m_e32-55e67d44.pt", "55e67d44", False),
        ("ViT-B-16-plus-240", "vit_b_16_plus_240-laion400m_e31-8fb26589.pt", "8fb26589", False),
        ("ViT-B-16-plus-240", "vit_b_16_plus_240-laion400m_e32-699c4b84.pt", "699c4b84", False),
        ("ViT-L-14", "vit_l_14-laion400m_e31-69988bb6.pt", "69988bb6", False),
        ("ViT-L-14", "vit_l_14-laion400m_e32-3d133497.pt", "3d133497", False),
    )
]
"""LAION's CLIPs whose file names give the first digits of the sha256. Source: open_clip 3.3.0."""

OPEN_MMLAB = {
    f"{name}c": Release(
        f"open-mmlab's {name}_v1c",
        f"{name}_v1c-{digits}.pth",
        f"https://download.openmmlab.com/pretrain/third_party/{name}_v1c-{digits}.pth",
        digits,
    )
    for name, digits in (("resnet50", "2cccc1ad"), ("resnet101", "e67eebb6"))
}
"""ImageNet ResNets with the deep stem of the official code's student, by timm's name of the model.

The file names give the first eight digits of the sha256."""


def clip_release(model: str) -> Release | None:
    """Return OpenAI's weights of open_clip's `model`; None if there are none."""
    return OPENAI.get(model.removesuffix("-quickgelu"))


def release_named(file: str) -> Release | None:
    """Return the published file of this name; None for any other name."""
    return next((r for r in _all() if r.file == file), None)


def release_of(sha256: str) -> Release | None:
    """Return the published file with this sha256; None for any other file."""
    return next((r for r in _all() if sha256.startswith(r.sha256)), None)


def _all() -> list[Release]:
    return [*OPENAI.values(), *LAION, *OPEN_MMLAB.values()]
