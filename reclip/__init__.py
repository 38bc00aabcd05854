"""ReCLIP: rectify the class- and space-preference bias of CLIP for unsupervised segmentation.

`reclip.Segmenter` loads a trained model and segments photos.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reclip.inference.segmentation import Segmentation
    from reclip.inference.segmenter import Segmenter

__version__ = "0.5.0"
__all__ = ["Segmentation", "Segmenter", "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public class on first use, so that `import reclip` stays fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reclip.inference import segmenter

    return getattr(segmenter, name)
