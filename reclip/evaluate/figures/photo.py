"""Heat maps of one finished run on one photo: which run, photo and classes; no labels needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reclip.common.errors import ReclipError
from reclip.common.text import nearest
from reclip.device import setup
from reclip.evaluate.figures import captions, one_photo
from reclip.evaluate.figures.examples import evenly_spaced
from reclip.evaluate.figures.one_photo import Logits, Photo, Scale
from reclip.evaluate.figures.single import (
    checked_output,
    chosen_runs,
    class_ids,
    require_fresh,
    written,
)
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan

SEARCHED = 50
"""Photos that are looked at for the one that rectification changes most."""


def heatmaps(
    plan: Plan,
    dataset: str | None,
    runs: Sequence[str],
    image: str | None,
    classes: str | None,
    scale: Scale,
    output: str,
    params: str,
) -> str:
    """Query, Reference, positional and rectified logits. Returns what was written, in words."""
    from reclip.clip.feature_cache import FeatureCache
    from reclip.data.index import DataSet

    path = checked_output(plan, output)
    dataset, runs = chosen_runs(plan, dataset, runs, ("rectified",))
    if len(runs) > 1:
        raise ReclipError(f"heat maps are of one run, not {len(runs)}: draw a figure for each")
    run = runs[0]
    model, rectifier = models(plan, run)
    before = [plan.job(stage, dataset) for stage in ("prepare", "cache-features")]
    require_fresh([*before, *dict.fromkeys((model, rectifier))], params)
    data, features = DataSet(before[0].folder), FeatureCache(before[1].folder)
    names = [synonyms[0] for synonyms in data.class_names]
    ids = class_ids(classes, names) if classes is not None else None
    photos = [
        Photo(split, number, item)
        for split in ("val", "train")
        for number, item in enumerate(data.items(split))
    ]
    if image is not None:
        photo = next((p for p in photos if p.item.id == image), None)
        if photo is None:
            raise ReclipError(f"--image: {_no_photo(image, dataset, photos)}")
    logits_of = predictor(plan, run, model, rectifier, features)
    how = "Photo: as asked for."
    if image is None:
        split = [p for p in photos if p.split == photos[0].split]
        some = [split[i] for i in evenly_spaced(len(split), SEARCHED)]
        photo = max(some, key=lambda p: one_photo.change(logits_of(p))[0])
        how = (
            f"Photo: of {len(some)} evenly spaced ones of the {photo.split} split, the one of "
            f"which rectification changes the class of most pixels; no label was looked at."
        )
    logits = logits_of(photo)
    if ids is None:
        share, ids = one_photo.change(logits)
        if not ids:
            raise ReclipError(
                f"rectification changes no pixel of photo '{photo.item.id}', so that no class "
                f"stands out: name classes with --classes"
            )
        how += (
            f" Classes: {100 * share:.0f} % of its pixels change class, most of them from the "
            f"first to the second."
        )
    else:
        how += " Classes: as asked for."
    shown = " and ".join(names[k] for k in ids)
    seed = plan.experiment.seeds(run)[0]
    sign = "+" if plan.experiment.rectify(rectifier.id).combine == "add" else "−"
    said = captions.heatmaps(photo, logits, shown, scale, f"{run}, seed {seed}", sign, how)
    return written(
        path, lambda: one_photo.draw(photo, logits, ids, names, scale, f"{run}, seed {seed}"), said
    )


def models(plan: Plan, run: str) -> tuple[Job, Job]:
    """A run's model, and the rectified CLIP whose Reference it uses: for a student its teacher.

    Raises ReclipError: a run without Reference and positional logits.
    """
    settings = plan.params.runs[run]
    if settings.method == "rectify" and (
        plan.experiment.rectify(run).reference or plan.experiment.rectify(run).positional
    ):
        return plan.job("rectify", run), plan.job("rectify", run)
    if settings.method == "distill" and "reference" in plan.experiment.distill(run).head:
        return plan.job("distill", run), plan.job("rectify", settings.teacher)
    having = plan.experiment.compared(settings.dataset).get("rectified")
    hint = f", e.g. '{having}'" if having and having != run else ""
    raise ReclipError(
        f"run '{run}' has neither Reference nor positional logits to show: name one that learns "
        f"or inherits them{hint}"
    )


def predictor(
    plan: Plan, run: str, model: Job, rectifier: Job, features
) -> Callable[[Photo], Logits]:
    """From a photo to its logits by the run's first seed."""
    from reclip.pipeline.artifacts import seed_file
    from reclip.rectify.model import Rectifier

    device, seed = setup(plan.params.compute), plan.experiment.seeds(run)[0]
    teacher = Rectifier.load(seed_file(rectifier.folder, seed), device)
    if model is rectifier:
        return lambda photo: one_photo.of_rectifier(teacher, features, photo)
    from reclip.distill.deeplab import Student

    student = Student.load(seed_file(model.folder, seed)).to(device)
    return lambda photo: one_photo.of_student(student, teacher, features, photo)


def _no_photo(image: str, dataset: str, photos: list[Photo]) -> str:
    """A list of all photos would be long: only a near name, or how names look."""
    ids = [p.item.id for p in photos]
    hint = nearest(image, ids)
    if hint.startswith("; known"):
        hint = f"; its photos are named like '{ids[0]}'"
    return f"dataset '{dataset}' has no photo '{image}'{hint}"
