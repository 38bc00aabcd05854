"""Names of the classes of VOC, Context and ADE, in the order of their indices.

Each class is a tuple of names (synonyms): the first is shown, all are embedded. The spellings are
from the official code: W_q, and so every published figure, depends on them.
"""

from __future__ import annotations

Classes = tuple[tuple[str, ...], ...]


def _classes(text: str) -> Classes:
    """Return classes of one name each from a text of names separated by commas."""
    return tuple((name,) for name in " ".join(text.split()).split(", "))


VOC_CLASSES = _classes("""
    airplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, dining table, dog, horse,
    motorbike, person, potted plant, sheep, sofa, train, tv monitor
""")

# PASCAL Context: the ids of the 59 classes among its 459, and their names in its `labels.txt`.
_CONTEXT = _classes("""
    2 aeroplane, 9 bag, 18 bed, 19 bedclothes, 22 bench, 23 bicycle, 25 bird, 31 boat, 33 book,
    34 bottle, 44 building, 45 bus, 46 cabinet, 59 car, 65 cat, 68 ceiling, 72 chair, 80 cloth,
    85 computer, 98 cow, 104 cup, 105 curtain, 113 dog, 115 door, 144 fence, 158 floor, 159
    flower, 162 food, 187 grass, 189 ground, 207 horse, 220 keyboard, 232 light, 258 motorbike,
    259 mountain, 260 mouse, 284 person, 295 plate, 296 platform, 308 pottedplant, 324 road, 326
    rock, 347 sheep, 349 shelves, 354 sidewalk, 355 sign, 360 sky, 366 snow, 368 sofa, 397
    table, 415 track, 416 train, 420 tree, 424 truck, 427 tvmonitor, 440 wall, 445 water, 454
    window, 458 wood
""")
CONTEXT_IDS = tuple(int(entry.split()[0]) for (entry,) in _CONTEXT)
CONTEXT_NAMES = tuple(entry.split()[1] for (entry,) in _CONTEXT)
CONTEXT_ALL = 459

# The spellings of three names in the dataset's own list of 59 classes, `59_labels.txt`.
CONTEXT_OTHER_SPELLINGS = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}

_PROMPTED = {"aeroplane": "airplane", "pottedplant": "potted plant", "tvmonitor": "tv monitor"}

CONTEXT_CLASSES: Classes = tuple((_PROMPTED.get(name, name),) for name in CONTEXT_NAMES)

# MaskCLIP's names, the first of each row of objectInfo150.txt. The official code has "bed " with a
# blank at its end. Without it the prompts differ by a double blank, which CLIP's tokenizer drops.
ADE_CLASSES = _classes("""
    wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk,
    person, earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa,
    shelf, house, sea, mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp,
    bathtub, railing, cushion, base, box, column, signboard, chest of drawers, counter, sand,
    sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool
    table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet,
    flower, book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair,
    boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning,
    streetlight, booth, television receiver, airplane, dirt track, apparel, pole, land,
    bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, fountain, conveyer
    belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag,
    minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle,
    lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
    ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass,
    clock, flag
""")
