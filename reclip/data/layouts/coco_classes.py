"""COCO-Stuff's 171 classes, and the 27 classes of its hierarchy's second level.

The label maps have ids from 0: those of `labels.txt` in the dataset's repository, less 1. Names are
those that the official code prompts with: `floor-wood` is "wood floor", `sky-other` is "sky".
"""

from __future__ import annotations

from reclip.data.layouts.class_names import Classes

# The name of each id; "-" for the 11 that COCO's annotators never used.
_NAMES = """
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire
    hydrant, -, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant,
    bear, zebra, giraffe, -, backpack, umbrella, -, -, handbag, tie, suitcase, frisbee, skis,
    snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis
    racket, bottle, -, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich,
    orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, -,
    dining table, -, -, toilet, -, tv, laptop, mouse, remote, keyboard, cell phone, microwave,
    oven, toaster, sink, refrigerator, -, book, clock, vase, scissors, teddy bear, hair drier,
    toothbrush, -, banner, blanket, branch, bridge, building, bush, cabinet, cage, cardboard,
    carpet, ceiling, tile ceiling, cloth, clothes, clouds, counter, cupboard, curtain, desk,
    dirt, door, fence, marble floor, floor, stone floor, tile floor, wood floor, flower, fog,
    food, fruit, furniture, grass, gravel, ground, hill, house, leaves, light, mat, metal,
    mirror, moss, mountain, mud, napkin, net, paper, pavement, pillow, plant, plastic, platform,
    playingfield, railing, railroad, river, road, rock, roof, rug, salad, sand, sea, shelf, sky,
    skyscraper, snow, solid, stairs, stone, straw, structural, table, tent, textile, towel,
    tree, vegetable, brick wall, concrete wall, wall, panel wall, stone wall, tile wall, wood
    wall, water, waterdrops, blind window, window, wood
"""

# 12 kinds of things and 15 of stuff, each with its ids, in the order of PiCIE and STEGO.
_COARSE = """
    electronic: 71-76
    appliance: 77-82
    food things: 51-60
    furniture things: 61-70
    indoor: 83-90
    kitchen: 43-50
    accessory: 25-32
    animal: 15-24
    outdoor: 9-14
    person: 0
    sports: 33-42
    vehicle: 1-8
    ceiling: 101-102
    floor: 100 113-117
    food stuff: 120-121 152 169
    furniture stuff: 97 106-107 109 111 122 129 132 155 160 164
    raw material: 99 131 138 142
    textile: 91-92 103-104 108 130 136 140 151 166-167
    wall: 170-176
    window: 179-180
    building: 94-95 127 150 157 165
    ground: 110 124-125 135 139 143-144 146 148 153 158
    plant: 93 96 118 123 128 133 141 162 168
    sky: 105 156
    solid: 126 134 149 159 161 181
    structural: 98 112 137 145 163
    water: 119 147 154 177-178
"""

_BY_ID = " ".join(_NAMES.split()).split(", ")
COCO_IDS = tuple(id for id, name in enumerate(_BY_ID) if name != "-")
COCO_171: Classes = tuple((_BY_ID[id],) for id in COCO_IDS)


def _ids(ranges: str) -> tuple[int, ...]:
    """Return the used ids of, for example, `9-14 33`."""
    ends = [part.split("-") for part in ranges.split()]
    every = [id for end in ends for id in range(int(end[0]), int(end[-1]) + 1)]
    return tuple(id for id in every if id in COCO_IDS)


_LINES = [line.strip().split(": ") for line in _COARSE.strip().splitlines()]
COCO_27: Classes = tuple((name,) for name, _ in _LINES)
COCO_27_IDS = tuple(_ids(ranges) for _, ranges in _LINES)
