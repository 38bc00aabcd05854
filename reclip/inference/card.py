"""A model's card: README.md beside its weights, for a person who has nothing but that folder."""

from __future__ import annotations

from typing import Any

from reclip.inference.model_info import WEIGHTS, ModelInfo
from reclip.pipeline.job import Job

WHAT = {
    "student": (
        "A DeepLabV2 segmentation model that learned from rectified CLIP's masks (ReCLIP, CVPR "
        "2024). It stands alone: no CLIP is needed to use it."
    ),
    "rectified-clip": (
        "CLIP's dense features with a learned bias subtracted (ReCLIP, CVPR 2024). It holds the "
        "rectification alone: the CLIP that it names must be there to use it."
    ),
}
LIMITS = """\
- Nobody labelled a photo for it. What its teacher, CLIP, takes for a class it takes for it too: \
where CLIP errs systematically (rare classes, look-alikes, things that usually appear together, \
other regions and cultures than the web's), it errs as well.
- Every pixel is given one of its classes: there is no "something else".
- It has seen photos like those it was trained on. On others (night, drawings, microscopes, views \
from above) expect less; look at the overlays before you trust a number.
- Probabilities are not calibrated, and areas are in the photo's pixels, not on the ground.
- Not for decisions about people (identity, health, work, credit, police) nor where an error can \
hurt somebody, such as driving or medicine."""


def model_card(
    info: ModelInfo, job: Job, facts: dict[str, Any], metrics: dict[str, Any] | None
) -> str:
    """The card in Markdown.

    facts: of the dataset (classes.json). metrics: of the run (metrics.json); None without labels.
    """
    measured = (
        next((s for s in metrics["seeds"] if s["seed"] == info.seed), None) if metrics else None
    )
    counts = facts["counts"]
    sections = {
        "How to use it": _usage(info, job.folder.as_posix()),
        "Data": f"Dataset `{job.settings['dataset']}` ({facts['lists']}): {counts['train']:,} "
        f"training photos, of which no label was read.",
        "How well it does": _metrics(info, metrics, measured),
        "Classes": _classes(info, measured),
        "Settings": _settings(info, job),
        "Limits": LIMITS,
        "Made from": "\n".join(f"- {sentence}" for sentence in info.sources),
    }
    title = f"# {info.experiment}: {info.run}\n\n{WHAT[info.kind]}\n"
    return title + "".join(f"\n## {head}\n\n{text}\n" for head, text in sections.items())


def _usage(info: ModelInfo, folder: str) -> str:
    lines = [f"reclip predict PHOTOS --model {folder} --out predictions"]
    if info.kind == "student":
        lines.append(f"reclip export --model {folder} --onnx {info.run}.onnx  # for other programs")
    call = f"reclip.Segmenter.load('{folder}')('photo.jpg').overlay().show()"
    lines.append(f'python -c "import reclip; {call}"')
    return "\n".join(["```sh", *lines, "```"])


def _metrics(info: ModelInfo, metrics: dict[str, Any] | None, measured: dict | None) -> str:
    if metrics is None or measured is None:
        return "Not known: the dataset has no labels to measure it by."
    said = (
        f"mIoU {measured['miou']:.1f}%, pixel accuracy {measured['pixel_accuracy']:.1f}%, on "
        f"{metrics['images']:,} labelled photos of the {metrics['split']} split (protocol: "
        f"{metrics['protocol']}; post-processing: {metrics['post_processing']}; last checkpoint)."
    )
    if len(metrics["seeds"]) > 1:
        mean = metrics["miou"]
        said += (
            f" It is seed {info.seed} of {len(metrics['seeds'])}, the first, not the best; over "
            f"all of them mIoU is {mean['mean']:.1f} ± {mean['sd']:.1f}."
        )
    return said


def _classes(info: ModelInfo, measured: dict[str, Any] | None) -> str:
    head = ["number", "class", "also asked for as"] + (["IoU, %"] if measured else [])
    rows = [head, ["---"] * len(head)]
    for k, (name, *synonyms) in enumerate(info.classes):
        row = [str(k), name, ", ".join(synonyms)]
        if measured:
            iou = measured["iou"][k]
            row.append("" if iou is None else f"{iou:.1f}")
        rows.append(row)
    return "\n".join(f"| {' | '.join(_cell(c) for c in row)} |" for row in rows)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _settings(info: ModelInfo, job: Job) -> str:
    """How a photo is read, and every setting of the training."""
    image, trained = info.image, job.settings["trained"]
    read = "at its own size"
    if image.short_side is not None:
        read = f"with its short side resized to {image.short_side}"
        read += f" (long side at most {image.long_side})"
    if image.protocol == "slide":
        read += f", in windows of {image.window} every {image.stride} pixels"
    lines = [
        f"- A photo is read {read}; RGB values minus {_numbers(info.mean)}, divided by "
        f"{_numbers(info.std)}.",
        f"- Weights: `{WEIGHTS}`, sha256 {info.sha256}; seed {info.seed}; training {info.digest}.",
    ]
    if job.settings["teacher"]:
        lines.append(f"- Teacher: run `{job.settings['teacher']}`.")
    if info.clip:
        lines.append(
            f"- CLIP: {info.clip.settings.model}, sha256 {info.clip.sha256 or 'not known'}."
        )
    values = trained.model_dump(mode="json", exclude={"checkpoint"})  # a path of one's own
    given = ", ".join(f"{key} {value}" for key, value in values.items())
    return "\n".join([*lines, f"- {job.settings['method']}: {given}."])


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{v:g}" for v in values) + ")"
