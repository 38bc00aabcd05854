"""Class names of published protocols: what later dense CLIPs put into their prompts.

Figures of the same extractor differ by points between lists of names, so a protocol is only
reproduced with its own. Every list is in our order of the classes.

SCLIP's are from its repository (wangf3014/SCLIP, `configs/cls_*.txt`, commit 57fa9aa). NACLIP and
SC-CLIP read files of the same names. ClearCLIP's repository (mc-lan/ClearCLIP, commit fd05ce4) has
the same names without synonyms: `configs/cls_voc21.txt`, less its background. MaskCLIP's and
ReCLIP++'s names are our own.
"""

from __future__ import annotations

from reclip.common.errors import ReclipError
from reclip.config.models import NamesOfProtocol
from reclip.data.layouts.class_names import ADE_CLASSES, CONTEXT_NAMES, Classes

_VOC_WORDS = (
    *("aeroplane", "bicycle", "bird", "ship", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("table", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)

_CLOTHES = ("shirt", "jeans", "dress", "sweater", "skirt", "jacket")

_SYNONYMS = {
    "person": ("person", *(f"person in {cloth}" for cloth in _CLOTHES)),
    "tvmonitor": ("television monitor", "tv monitor", "monitor", "television", "screen"),
}


def _one_each(words: tuple[str, ...]) -> Classes:
    return tuple((word,) for word in words)


_WITHOUT_SYNONYMS = {
    "voc": _one_each(_VOC_WORDS),
    "context": _one_each(CONTEXT_NAMES),  # the dataset's own spellings
    "ade": tuple((name.replace(" ", ""),) for (name,) in ADE_CLASSES),  # without their blanks
}

_WITH_SYNONYMS = {"voc": tuple(_SYNONYMS.get(word, (word,)) for word in _VOC_WORDS)}

PROTOCOLS: dict[NamesOfProtocol, dict[str, Classes]] = {
    "sclip": _WITHOUT_SYNONYMS | _WITH_SYNONYMS,
    "clearclip": _WITHOUT_SYNONYMS,
}


def names_of(protocol: NamesOfProtocol, kind: str) -> Classes:
    """Return the names that a protocol gives the classes of a kind of dataset, in our order.

    Raises ReclipError: the protocol has no names for this kind.
    """
    if (found := PROTOCOLS[protocol].get(kind)) is None:
        raise ReclipError(
            f"params: 'names: {protocol}': this protocol names no classes of datasets of the kind "
            f"'{kind}', only of {', '.join(PROTOCOLS[protocol])}: remove `names`"
        )
    return found
