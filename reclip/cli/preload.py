"""What the fork server imports before a job needs it: the libraries and this package.

To import this package and to digest its code takes a quarter of a second, in every job.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

LIBRARIES = (
    "click", "yaml", "pydantic", "tqdm", "psutil", "PIL.Image", "numpy", "scipy.special",
    "safetensors.torch", "torch", "open_clip", "timm", "matplotlib.figure",
)  # fmt: skip
PACKAGE = Path(__file__).parents[1]

Sources = dict[Path, tuple[int, int]]
"""Size and time of change of every file of the package."""


def preload() -> Sources:
    """Import the libraries and the package, and digest its code; return its files as they were."""
    before = sources()
    for library in LIBRARIES:
        importlib.import_module(library)
    from reclip.cli import main  # noqa: F401 - imported for its forks
    from reclip.pipeline.code_digest import modules_used
    from reclip.pipeline.stages import STAGES

    for stage in STAGES.values():
        importlib.import_module(stage.module)
        modules_used(stage.module)  # which caches them
    return before


def forget_if_edited(before: Sources) -> None:
    """Forget the imported package if a file of it has changed, so that this job reads it anew."""
    if sources() == before:
        return
    for name in [name for name in sys.modules if name.split(".")[0] == "reclip"]:
        del sys.modules[name]
    importlib.invalidate_caches()  # else a file that was added may not be found


def sources() -> Sources:
    """Return the files of the package as they are now."""
    found = {}
    for path in PACKAGE.rglob("*"):
        if path.parent.name != "__pycache__" and path.is_file():
            stat = path.stat()
            found[path] = (stat.st_size, stat.st_mtime_ns)
    return found
