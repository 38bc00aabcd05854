"""Where the official numbers are, and the photos, which are not in the repository."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent / "data"
PHOTOS = Path(__file__).parents[2] / "../shared/real/VOCtrainval-subset.tar"
