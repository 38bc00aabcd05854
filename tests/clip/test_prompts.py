from __future__ import annotations

import pytest

from reclip.clip.prompts import TEMPLATE_SETS, templates
from reclip.common.errors import ReclipError


def test_template_sets():
    sizes = {name: len(templates(name)) for name in TEMPLATE_SETS}
    assert sizes == {"single": 1, "imagenet": 80, "reclip": 85}
    assert templates("reclip")[:80] == templates("imagenet")
    assert len(set(templates("reclip"))) == 85
    # Those of SCLIP, ClearCLIP and NACLIP (`prompts/imagenet_template.py`), in their order.
    assert templates("imagenet")[::79] == ["a bad photo of a {}.", "a tattoo of the {}."]
    for template in templates("reclip"):
        assert template.count("{}") == 1
        assert template.format("dog").endswith(".")


def test_unknown_set():
    with pytest.raises(ReclipError, match=r"'many'.*single, imagenet, reclip"):
        templates("many")
