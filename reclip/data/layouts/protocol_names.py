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


def _classes(text: str) -> Classes:
    """Return classes of one name each, of a word each."""
    return tuple((word,) for word in text.split())


_VOC = _classes("""
    aeroplane bicycle bird ship bottle bus car cat chair cow table dog horse motorbike person
    pottedplant sheep sofa train tvmonitor
""")

_CITYSCAPES = _classes("""
    road sidewalk building wall fence pole trafficlight trafficsign vegetation terrain sky
    person rider car truck bus train motorcycle bicycle
""")

_COCO_STUFF = _classes("""
    person bicycle car motorcycle airplane bus train truck boat trafficlight firehydrant
    stopsign parkingmeter bench bird cat dog horse sheep cow elephant bear zebra giraffe
    backpack umbrella handbag tie suitcase frisbee skis snowboard sportsball kite baseballbat
    baseballglove skateboard surfboard tennisracket bottle wineglass cup fork knife spoon bowl
    banana apple sandwich orange broccoli carrot hotdog pizza donut cake chair couch pottedplant
    bed diningtable toilet tv laptop mouse remote keyboard cellphone microwave oven toaster sink
    refrigerator book clock vase scissors teddybear hairdrier toothbrush banner blanket branch
    bridge building-other bush cabinet cage cardboard carpet ceiling-other ceiling-tile cloth
    clothes clouds counter cupboard curtain desk-stuff dirt door-stuff fence floor-marble
    floor-other floor-stone floor-tile floor-wood flower fog food-other fruit furniture-other
    grass gravel ground-other hill house leaves light mat metal mirror-stuff moss mountain mud
    napkin net paper pavement pillow plant-other plastic platform playingfield railing railroad
    river road rock roof rug salad sand sea shelf sky-other skyscraper snow solid-other stairs
    stone straw structural-other table tent textile-other towel tree vegetable wall-brick
    wall-concrete wall-other wall-panel wall-stone wall-tile wall-wood water-other waterdrops
    window-blind window-other wood
""")

_WITHOUT_SYNONYMS = {
    "voc": _VOC,
    "context": tuple((name,) for name in CONTEXT_NAMES),  # the dataset's own spellings
    "ade": tuple((name.replace(" ", ""),) for (name,) in ADE_CLASSES),
    "cityscapes": _CITYSCAPES,
    "coco-stuff-171": _COCO_STUFF,
}

_CLOTHES = ("shirt", "jeans", "dress", "sweater", "skirt", "jacket")

_SYNONYMS = {
    "person": ("person", *(f"person in {cloth}" for cloth in _CLOTHES)),
    "tvmonitor": ("television monitor", "tv monitor", "monitor", "television", "screen"),
}

_WITH_SYNONYMS = {"voc": tuple(_SYNONYMS.get(names[0], names) for names in _VOC)}

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
