"""Heat maps of one finished run on one photo (Fig. 3): the choice of run, photo and classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reclip.clip.feature_cache import FeatureCache
from reclip.common.errors import ReclipError
from reclip.common.text import nearest
from reclip.data.index import DataSet
from reclip.device import setup
from reclip.evaluate.figures import captions, single
from reclip.evaluate.figures import heatmaps as maps
from reclip.evaluate.figures.comparison import evenly_spaced
from reclip.evaluate.figures.heatmaps import Logits, Photo, Scale
from reclip.pipeline.artifacts import seed_file
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.rectify.model import Rectifier

SEARCHED = 50
"""Photos searched for the one that rectification changes most."""


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
    """Draw Query, Reference, positional and rectified logits. Return a message with the files.

    No labels are needed. image, classes: None takes the photo, and its classes, that change most.
    """
    path = single.checked_output(plan, output)
    dataset, runs = single.chosen_runs(plan, dataset, runs, ("rectified",))
    if len(runs) > 1:
        raise ReclipError(f"heat maps are of one run, not {len(runs)}: draw a figure for each")
    run = runs[0]
    model, rectifier = models(plan, run)
    before = [plan.job(stage, dataset) for stage in ("prepare", "cache-features")]
    single.require_fresh([*before, *dict.fromkeys((model, rectifier))], params)
    data, features = DataSet(before[0].folder), FeatureCache(before[1].folder)
    names = [synonyms[0] for synonyms in data.class_names]
    ids = None if classes is None else single.class_ids(classes, names)
    photos = [
        Photo(split, number, item)
        for split in ("val", "train")
        for number, item in enumerate(data.items(split))
    ]
    photo = next((p for p in photos if p.item.id == image), None)
    if image is not None and photo is None:
        raise ReclipError(f"--image: {_no_photo(image, dataset, photos)}")
    logits_of = predictor(plan, run, model, rectifier, features)
    how_photo = how_classes = "as asked for."
    if photo is None:
        split = [p for p in photos if p.split == photos[0].split]
        some = [split[i] for i in evenly_spaced(len(split), SEARCHED)]
        photo = max(some, key=lambda p: maps.change(logits_of(p))[0])
        how_photo = (
            f"of {len(some)} evenly spaced ones of the {photo.split} split, the one of which "
            f"rectification changes the class of most pixels; no label was looked at."
        )
    logits = logits_of(photo)
    if ids is None:
        share, ids = maps.change(logits)
        if not ids:
            raise ReclipError(
                f"rectification changes no pixel of photo '{photo.item.id}', so no class stands "
                f"out: name classes with --classes"
            )
        how_classes = (
            f"{100 * share:.0f} % of its pixels change class, most of them from the first to the "
            f"second."
        )
    said = f"{run}, seed {plan.experiment.seeds(run)[0]}"
    sign = "+" if plan.experiment.rectify(rectifier.id).combine == "add" else "−"
    how = f"Photo: {how_photo} Classes: {how_classes}"
    shown = " and ".join(names[k] for k in ids)
    caption = captions.heatmaps(photo, logits, shown, scale, said, sign, how)
    return single.written(path, caption, maps.draw_run, photo, logits, ids, names, scale, said)


def models(plan: Plan, run: str) -> tuple[Job, Job]:
    """Return the jobs of a run's model, and of the rectified CLIP whose Reference it uses.

    A student uses its teacher's Reference; a rectified CLIP uses its own.
    Raises ReclipError: the run has neither Reference nor positional logits.
    """
    experiment, settings = plan.experiment, plan.params.runs[run]
    if settings.method == "rectify":
        learned = experiment.rectify(run)
        if learned.reference or learned.positional:
            return plan.job("rectify", run), plan.job("rectify", run)
    if settings.method == "distill" and "reference" in experiment.distill(run).head:
        return plan.job("distill", run), plan.job("rectify", settings.teacher)
    having = experiment.compared(settings.dataset).get("rectified")
    hint = f", e.g. '{having}'" if having and having != run else ""
    raise ReclipError(
        f"run '{run}' has neither Reference nor positional logits to show: name a run that learns "
        f"or inherits them{hint}"
    )


def predictor(
    plan: Plan, run: str, model: Job, rectifier: Job, features: FeatureCache
) -> Callable[[Photo], Logits]:
    """Return a function from a photo to its logits by the run's first seed."""
    device, seed = setup(plan.params.compute), plan.experiment.seeds(run)[0]
    teacher = Rectifier.load(seed_file(rectifier.folder, seed), device)
    if model is rectifier:
        return lambda photo: maps.of_rectifier(teacher, features, photo)
    from reclip.distill.deeplab import Student  # imports timm, which takes seconds

    student = Student.load(seed_file(model.folder, seed)).to(device)
    return lambda photo: maps.of_student(student, teacher, features, photo)


def _no_photo(image: str, dataset: str, photos: list[Photo]) -> str:
    """Return the error for an unknown photo: with a near name or an example, not all names."""
    ids = [p.item.id for p in photos]
    hint = nearest(image, ids)
    if hint.startswith("; known"):
        hint = f"; its photos are named like '{ids[0]}'"
    return f"dataset '{dataset}' has no photo '{image}'{hint}"
