"""Read what a page gallery.html holds."""

from __future__ import annotations

import io
import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

from PIL import Image

Pictures = list[list[Image.Image | None]]


def gallery_content(page: Path) -> tuple[dict[str, Any], Pictures]:
    """Return the facts in a page, and the photo and mask of each entry."""
    text = page.read_text(encoding="utf-8")
    facts = re.search(r'<script type="application/json" id="facts">(.*?)</script>', text)[1]
    pictures = re.findall(r'<script type="text/plain" id="pictures-\d+">(.*?)</script>', text)
    return json.loads(facts), [list(map(_decoded, both.split(" "))) for both in pictures]


def _decoded(text: str) -> Image.Image | None:
    return None if text == "-" else Image.open(io.BytesIO(b64decode(text)))
