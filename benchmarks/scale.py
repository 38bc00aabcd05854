"""Write the figures of docs/scale.md, from the cost model of `reclip plan --cost`.

    python benchmarks/scale.py [--write docs/scale.md] [--gpu h100] [--gpu-price 2.5] ...

Nothing is measured, and no data or weights are needed. The datasets are one rectified CLIP and one
student of it, a seed each, under the settings of `reclip init paper` for ADE20K. Only epochs and
views differ. The prices are assumptions, not quotes.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from reclip.common.files import write_text
from reclip.config.load import validate
from reclip.config.params import Params
from reclip.cost import flops
from reclip.cost.census import Census
from reclip.cost.facts import Facts
from reclip.cost.machines import DEFAULT_GPU, GPUS, START_SECONDS, Rates, Work, seconds
from reclip.cost.report import amount, hours
from reclip.cost.stage_work import WORK_OF
from reclip.data.layouts.class_names import ADE_CLASSES, CONTEXT_CLASSES
from reclip.pipeline.plan import Plan
from reclip.presets import preset_text

BEGIN, END = "<!-- written by benchmarks/scale.py -->\n", "<!-- end -->\n"
RUNS = ("ade-ref-pe", "ade-distill")
STAGES = {  # to the run of its job, or the dataset
    "prepare": "ade",
    "cache-features": "ade",
    "hypothesise": "ade",
    "rectify": "ade-ref-pe",
    "pseudo-mask": "ade-ref-pe",
    "distill": "ade-distill",
    "evaluate": "ade-distill",
}
INDEX_BYTES = 80  # a row of an index: id, path and size


@dataclass(frozen=True)
class Photos:
    """Photos of one size (H, W), and how long they are learned from."""

    name: str
    train: int
    val: int
    size: tuple[int, int]
    classes: int
    epochs: int
    views: int


# Epochs that give each training about as many photos to see as on ADE20K (3 million).
SETS = (
    Photos("ADE20K", 20_210, 2_000, (512, 683), 150, epochs=150, views=4),
    Photos("COCO", 118_287, 5_000, (480, 640), 171, epochs=26, views=4),
    Photos("10 million photos", 10_000_000, 0, (480, 640), 171, epochs=1, views=1),
)
SAMPLE = Photos("a sample of 100,000", 100_000, 0, (480, 640), 171, epochs=30, views=4)


@dataclass(frozen=True)
class Prices:
    """In dollars. store: name of a kind of disk to its price a gigabyte and month."""

    gpu_hour: float
    store: Mapping[str, float]


PRICES = Prices(2.5, {"object storage": 0.023, "a network SSD": 0.08})
"""Our assumptions of November 2026."""


def facts_of(photos: Photos) -> Facts:
    """Return the facts of the cost model about a plan for these photos."""
    settings = yaml.safe_load(preset_text("paper"))
    settings |= {"tables": {}, "check": None, "recipe": "batched"}
    settings["datasets"] = {"ade": settings["datasets"]["ade"]}
    settings["runs"] = {run: settings["runs"][run] for run in RUNS}
    settings["seeds"] |= {"rectify": [0], "distill": [0]}
    settings["views"]["count"] = photos.views
    for stage in ("rectify", "distill"):
        settings["datasets"]["ade"][stage] = {"epochs": photos.epochs}
    facts = Facts(Plan(validate(Params, settings)), use_index=False)
    sizes = {"train": {photos.size: photos.train}, "val": {photos.size: photos.val}}
    names = [*ADE_CLASSES, *CONTEXT_CLASSES][: photos.classes]
    facts.census["ade"] = Census(sizes, names, "as assumed")
    return facts


def work_of(photos: Photos) -> dict[str, Work]:
    """Return the work of each stage."""
    facts = facts_of(photos)
    found = {stage: WORK_OF[stage](facts, id) for stage, id in STAGES.items()}
    if not photos.val:  # nothing to evaluate, and no label map to write
        del found["evaluate"]
        found["prepare"] = replace(found["prepare"], written=INDEX_BYTES * photos.train)
    return found


def stage_hours(stage: str, work: Work, rates: Rates, loaders: int) -> float:
    """Return the hours of a stage's job; the threads that prefetch are those of the preset."""
    prefetches = stage in ("prepare", "cache-features", "rectify", "distill")
    return seconds(work, rates, loaders * prefetches) / 3600


def stage_table(rates: Rates, prices: Prices) -> Iterator[str]:
    """Yield the lines of the table of stages: disk, hours and money of each set of photos."""
    loaders = facts_of(SETS[0]).plan.params.compute.loaders
    names = [photos.name for photos in SETS]
    units = ("disk", "hours", "$")
    yield f"| stage | {' | '.join(f'{name}, {unit}' for name in names for unit in units)} |"
    yield "| --- |" + " --: |" * (len(names) * len(units))
    works = [work_of(photos) for photos in SETS]
    totals = [[0.0, 0.0] for _ in SETS]
    for stage in STAGES:
        row = []
        for total, work in zip(totals, works, strict=True):
            if stage not in work:
                row += ["", "", ""]
                continue
            took = stage_hours(stage, work[stage], rates, loaders)
            total[0] += work[stage].written
            total[1] += took
            row += _cells(work[stage].written, took, prices)
        yield f"| `{stage}` | {' | '.join(row)} |"
    row = [cell for total in totals for cell in _cells(*total, prices)]
    yield f"| all | {' | '.join(row)} |"
    for name, price in prices.store.items():
        kept = (["", "", money(written / 1e9 * price)] for written, _ in totals)
        yield f"| a month on {name} | {' | '.join(cell for cells in kept for cell in cells)} |"


def _cells(written: float, took: float, prices: Prices) -> list[str]:
    return [amount(written, "B"), hours(took), money(took * prices.gpu_hour)]


def money(dollars: float) -> str:
    return f"{dollars:,.0f}" if dollars >= 10 else f"{dollars:.2f}"


def view_work(photos: Photos) -> Work:
    """Return what one view costs that is not cached: cut from the photo, and CLIP's image tower."""
    facts = facts_of(photos)
    dense = flops.dense(facts.model, facts.view_cells("ade"), facts.experiment.clip.mlp)
    return dense + Work(megapixels=facts.view_megapixels("ade"))


def caching(rates: Rates, prices: Prices) -> Iterator[str]:
    """Yield the lines on where caching stops paying."""
    coco = SETS[1]
    facts, work = facts_of(coco), view_work(coco)
    loaders = facts.plan.params.compute.loaders
    took = seconds(work, rates, loaders) - START_SECONDS
    size = facts.view_cells("ade") * facts.token
    again = took / 3600 * prices.gpu_hour
    yield (
        f"- A view of {facts.views('ade').crop} pixels takes {size / 1e6:.2f} MB. To compute it "
        f"takes {1000 * took:.1f} ms of the GPU: ${1e6 * again:.1f} for a million views."
    )
    passes = 2 * coco.epochs * coco.train
    for name, price in prices.store.items():
        month = size / 1e9 * price
        uses = 1 + month / again
        most = passes / uses
        yield (
            f"- On {name} (${price:g} a GB and month), a month costs ${1e6 * month:.0f} for a "
            f"million views: caching pays from {math.ceil(uses)} uses of each view. A teacher and "
            f"a student that see {passes / 2e6:.1f} million photos each use every view that often "
            f"for up to {_round(most)} photos with one view, or {_round(most / 4)} with four."
        )
    for photos in SETS:
        uses = 2 * photos.epochs / photos.views
        yield f"- {photos.name}: {uses:g} uses of each view, by one teacher and one student."


def _round(photos: float) -> str:
    """Return two digits of a number of photos."""
    digits = 10 ** max(0, math.floor(math.log10(photos)) - 1)
    return f"{round(photos / digits) * digits:,}"


def sampling(rates: Rates, prices: Prices) -> Iterator[str]:
    """Yield the lines on learning from a sample, and masks of all photos."""
    loaders = facts_of(SAMPLE).plan.params.compute.loaders
    works = work_of(SAMPLE)
    took = sum(stage_hours(stage, work, rates, loaders) for stage, work in works.items())
    written = sum(work.written for work in works.values())
    rest = replace(SAMPLE, val=SETS[-1].train)
    masks = seconds(WORK_OF["evaluate"](facts_of(rest), "ade-distill"), rates) / 3600
    all_hours = took + masks
    yield (
        f"- To learn from {SAMPLE.train:,} of them ({SAMPLE.views} views, {SAMPLE.epochs} epochs): "
        f"{amount(written, 'B')}, {hours(took)} hours, ${money(took * prices.gpu_hour)}."
    )
    yield (
        f"- Masks of all 10 million by the student, read one after another on one core: "
        f"{hours(masks)} hours, ${money(masks * prices.gpu_hour)}; no cache."
    )
    yield f"- Together {hours(all_hours)} hours, ${money(all_hours * prices.gpu_hour)}."


def text(rates: Rates, prices: Prices) -> dict[str, str]:
    """Return what is written between the marks, by the name after the first mark."""
    parts = {"stages": stage_table, "caching": caching, "sample": sampling}
    return {name: "\n".join(part(rates, prices)) + "\n" for name, part in parts.items()}


def filled(page: str, parts: Mapping[str, str]) -> str:
    """Return a page with the text between its marks replaced."""
    for name, part in parts.items():
        mark = BEGIN.replace("written", f"{name}: written")
        pattern = re.compile(f"({re.escape(mark)}).*?({re.escape(END)})", re.S)
        page, count = pattern.subn(lambda found, part=part: f"{found[1]}\n{part}\n{found[2]}", page)
        if count != 1:
            raise SystemExit(f"the page needs one '{mark.strip()}' with one '{END.strip()}' after")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="the page to fill; by default it is printed")
    parser.add_argument("--gpu", choices=list(GPUS), default=DEFAULT_GPU)
    parser.add_argument(
        "--gpu-price", type=float, default=PRICES.gpu_hour, metavar="$", help="an hour"
    )
    kinds = {"--object-price": "object storage", "--ssd-price": "a network SSD"}
    for option, kind in kinds.items():
        default, told = PRICES.store[kind], f"{kind}, $ a GB and month"
        parser.add_argument(option, dest=kind, type=float, default=default, metavar="$", help=told)
    given = parser.parse_args()
    store = {kind: getattr(given, kind) for kind in kinds.values()}
    parts = text(GPUS[given.gpu], Prices(given.gpu_price, store))
    if given.write:
        write_text(given.write, filled(given.write.read_text(encoding="utf-8"), parts))
    else:
        print("\n".join(parts.values()))


if __name__ == "__main__":
    main()
