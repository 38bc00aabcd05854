"""Identity of the CLIP weights, cheap enough to ask on every command (imports no torch)."""

from __future__ import annotations

import functools
from pathlib import Path

from reclip.config import ClipSettings
from reclip.errors import ReclipError
from reclip.files import file_sha256, read_json

PACKAGED = Path(__file__).parent / "assets"


@functools.cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    return file_sha256(path)


def weights_sha256(file: str, key: str) -> str:
    """sha256 of the weights file that setting `key` names.

    Raises ReclipError: the file is missing.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise ReclipError(
            f"params: '{key}': no file '{path}': put the weights there or change the path"
        )
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


def checkpoint_sha256(clip: ClipSettings) -> str:
    """sha256 of the weights file; of packaged weights as recorded; a tag stands for itself.

    Raises ReclipError: the checkpoint file is missing.
    """
    if clip.checkpoint:
        return weights_sha256(clip.checkpoint, "clip.checkpoint")
    if clip.model == "mini-clip":
        return read_json(PACKAGED / "mini-clip.json")["sha256"]
    return f"open_clip:{clip.model}:{clip.pretrained}"
