"""Published files of weights: name, address and sha256 (imports no torch)."""

from __future__ import annotations

import functools
import re
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from reclip.common.errors import ReclipError


class Release(NamedTuple):
    """sha256: all 64 digits, or the first that the file's name tells."""

    title: str
    file: str
    url: str
    sha256: str


# ImageNet ResNets with the deep stem of the official code's student; the digits are of the sha256.
OPEN_MMLAB = {
    f"{name}c": Release(
        f"open-mmlab's {name}_v1c",
        f"{name}_v1c-{digits}.pth",
        f"https://download.openmmlab.com/pretrain/third_party/{name}_v1c-{digits}.pth",
        digits,
    )
    for name, digits in (("resnet50", "2cccc1ad"), ("resnet101", "e67eebb6"))
}
"""By the timm model that they fit."""


@functools.cache
def openai() -> dict[str, Release]:
    """OpenAI's CLIPs by open_clip's name of the model, from open_clip's table of weights.

    The table is read as text, since importing open_clip imports torch; the addresses in it hold
    the sha256.
    """
    table = Path(find_spec("open_clip").origin).with_name("pretrained.py")
    address = r"https://openaipublic\.\S+?/([0-9a-f]{64})/([\w-]+)\.pt\b"
    return {
        (model := found[2].removesuffix("px")): Release(
            f"OpenAI's {model}", f"{found[2]}.pt", found[0], found[1]
        )
        for found in re.finditer(address, table.read_text(encoding="utf-8"))
    }


def clip_release(model: str) -> Release | None:
    """OpenAI's weights for open_clip's `model`, if there are any."""
    return openai().get(model.removesuffix("-quickgelu"))


def release_named(file: str) -> Release | None:
    """What a file of this name should hold, as far as it is known."""
    return next((r for r in _all() if r.file == file), None)


def release_of(sha256: str) -> Release | None:
    """What a file with this sha256 holds, as far as it is known."""
    return next((r for r in _all() if sha256.startswith(r.sha256)), None)


def check_name(path: Path, sha256: str, key: str) -> None:
    """Raises ReclipError: the file has the name of a published one, but not its sha256."""
    release = release_named(path.name)
    if release and not sha256.startswith(release.sha256):
        raise ReclipError(
            f"params: '{key}': '{path}' is named like {release.title} but its sha256 is"
            f" {sha256[:12]}..., not {release.sha256[:12]}...: the download was cut short or is"
            f" another file, so get {release.url} again, or rename the file if you mean it"
        )


def _all() -> list[Release]:
    return [*openai().values(), *OPEN_MMLAB.values()]
