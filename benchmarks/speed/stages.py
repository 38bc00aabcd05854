"""The stages that are measured: what reclip runs, its plain version, and what it needs at least.

`ours` of a stage is the one place that calls reclip for it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from reclip.clip.extract import TOKENS_A_BATCH, Extractor
from reclip.clip.prompts import templates
from reclip.clip.text import ReferenceEncoder, query_embeddings
from reclip.config.models import ClipSettings, DistillSettings, EvaluateSettings, RefinementSettings
from reclip.cost import flops
from reclip.cost.machines import RESIZE_BYTES, Work
from reclip.data.images import read_image
from reclip.data.reading import Frame, Window, whole_size
from reclip.data.views import crop_image, normalise
from reclip.distill import OUTPUT_STRIDE
from reclip.distill import learn as distill_learn
from reclip.evaluate.counts import Counts
from reclip.rectify import learn as rectify_learn
from reclip.rectify.class_map import class_map
from reclip.rectify.predict import rectified_logits
from reclip.training.loop import make_sgd
from reclip.training.share import Share
from speed import plain
from speed.case import Case, Result
from speed.inputs import Inputs
from speed.limits import FLOATS, Need, Precision, decoding

TEMPLATES = 10
"""Prompts of a class in the measurement; the official code has 85, whose time is in proportion."""
FLOAT = 4  # bytes


def _need(work: Work, copied: float = 0.0) -> Need:
    return Need(work.matmul, work.conv, copied)


def _learned(model: nn.Module) -> list[Tensor]:
    """Return the gradients of a model as one vector, and remove them."""
    found = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    return [torch.cat(found)]


def read_photos(inputs: Inputs) -> Case:
    """Decode, resize, cut, recolour and normalise a view, on one core."""

    def ours(number: int, precision: Precision) -> Result:
        return [
            normalise(crop_image(read_image(inputs.file), inputs.view(i)), "clip")
            for i in range(number)
        ]

    def obvious(number: int) -> Result:
        return [plain.read_view(inputs.file, inputs.view(i), "clip") for i in range(number)]

    probes = {"decoded": decoding(inputs.file)}
    views = 8
    pixels = sum(math.prod(inputs.view(i).size) for i in range(views)) / views
    return Case(
        "view", obvious, ours, Need(decoded=1), views, views, ("integer",), 0.0, probes,
        Work(megapixels=pixels / 1e6),
    )  # fmt: skip


def dense_features(inputs: Inputs) -> Case:
    """CLIP's dense features of views, as the stage caches them."""
    clip, images = inputs.clip, inputs.views
    settings = ClipSettings(model=inputs.size.model)
    step = max(1, TOKENS_A_BATCH // inputs.side**2)

    def ours(number: int, precision: Precision) -> Result:
        extract, found = Extractor(inputs.clip_in(precision), settings, loaders=0), []
        for start in range(0, number, step):
            some = list(images[start : min(start + step, number)])
            found.append(extract(some, ["photo"] * len(some))[0])
        return [np.concatenate(found)]

    @torch.inference_mode()
    def obvious(number: int) -> Result:
        return [torch.stack([plain.dense_features(clip, image) for image in images[:number]]).cpu()]

    work = flops.dense(inputs.size.model, inputs.side**2, mlp=True)
    return Case("view", obvious, ours, _need(work), 1, inputs.many, FLOATS, work=work)


def text_queries(inputs: Inputs) -> Case:
    """Query embeddings of classes."""
    every = templates("reclip")
    wordings = every[:: len(every) // TEMPLATES][:TEMPLATES]
    classes = inputs.size.classes
    many = len(classes) if inputs.device.type != "cpu" else min(4, len(classes))
    encode = inputs.clip.tokenizer.encode

    def ours(number: int, precision: Precision) -> Result:
        with torch.inference_mode():
            return [query_embeddings(inputs.clip, classes[:number], wordings)]

    def obvious(number: int) -> Result:
        with torch.inference_mode():
            return [plain.query_embeddings(inputs.clip, inputs.names[:number], wordings)]

    lengths = [len(encode(w.format(names[0]))) + 2 for w in wordings for names in classes[:many]]
    work = sum((flops.text_embedding(inputs.size.model, n) for n in lengths), Work())
    return Case("class", obvious, ours, _need(1 / many * work), 1, many)


def _reference_work(inputs: Inputs) -> Work:
    encode = inputs.clip.tokenizer.encode
    slots = max(len(encode(names[0])) + 1 for names in inputs.size.classes)
    length = inputs.size.rectify.prompt_length
    return flops.reference(
        inputs.size.model, inputs.classes, slots, length=length, class_slots="any"
    ).train


def reference_encoder(inputs: Inputs) -> Case:
    """Reference embeddings of all classes, forward and backward."""
    names = [list(names) for names in inputs.size.classes]
    encoder = ReferenceEncoder(inputs.clip, names, inputs.size.rectify.prompt_length)

    def backward(embed: Callable[[], Tensor]) -> Result:
        found = embed()
        found.sum().backward()
        return [found.detach(), *_learned(encoder)]

    return Case(
        "pass",
        lambda _: backward(lambda: plain.reference_embeddings(encoder, inputs.names)),
        lambda _, precision: backward(encoder),
        _need(_reference_work(inputs)),
        tolerance=1e-2,
    )


def rectification(inputs: Inputs) -> Case:
    """A step of rectification on cached features: loss, gradient and update."""
    model, settings, cells = inputs.bias, inputs.size.rectify, inputs.side**2
    still = make_sgd(model, settings.model_copy(update={"lr": 0.0}))  # every step is the first

    def ours(number: int, precision: Precision) -> Result:
        z = inputs.z[:number]
        valid = torch.ones(z.shape[:3], dtype=torch.bool, device=z.device)
        batch = rectify_learn.Batch(z, valid, inputs.hypotheses[:number])
        share = Share(number, noise=inputs.noise(number, *rectify_learn.noise_of(batch)))
        loss = sum(rectify_learn.losses(model, batch, share, settings).values())
        loss.backward()
        still.step()
        return [loss.detach(), *_learned(model)]

    def obvious(number: int) -> Result:
        noise, total = inputs.noise(number, cells, inputs.classes), 0.0
        for i in range(number):
            loss = plain.rectification_loss(
                model, inputs.names, inputs.z[i], inputs.hypotheses[i], noise[i], settings
            )
            (loss / number).backward()
            still.step()
            total = total + loss.detach() / number
        return [total, *_learned(model)]

    many = inputs.size.batch
    net = flops.rectifier(inputs.size.model, inputs.classes, settings).train
    image = flops.rectify_image(inputs.clip.embed_dim, inputs.classes, cells, head_learns=True)
    step = cells * net + _reference_work(inputs) + many * image
    return Case("view", obvious, ours, _need(1 / many * step), 1, many, tolerance=2e-2)


def class_maps(inputs: Inputs) -> Case:
    """The class map of a photo from its features: pseudo masks and predictions."""
    model, size = inputs.bias.freeze(), inputs.size.photo
    read = whole_size(*size, inputs.image)
    patch = inputs.clip.patch_size
    grid = [-(-side // patch) for side in read]
    z = normalize(inputs.random(*grid, inputs.clip.embed_dim), dim=-1)

    @torch.inference_mode()
    def ours(number: int, precision: Precision) -> Result:
        found = []
        for _ in range(number):
            pieces = rectified_logits(model, [(Window(0, 0, *read), z)], RefinementSettings())
            found.append(class_map(pieces, Frame(patch, read, size)).cpu())
        return found

    @torch.inference_mode()
    def obvious(number: int) -> Result:
        return [plain.class_map(model, z, patch, read, size).short().cpu() for _ in range(number)]

    values = inputs.classes * (math.prod(read) + math.prod(size))
    return Case(
        "photo", obvious, ours, Need(copied=2 * FLOAT * values), 2, 2,
        tolerance=1e-3, work=Work(resized=values),
    )  # fmt: skip


def _distillation(inputs: Inputs, resolution: str) -> Case:
    settings = inputs.size.student.model_copy(update={"feature_resolution": resolution})
    student, crop, patch = inputs.student, inputs.size.crop, inputs.clip.patch_size
    still = make_sgd(student, settings.model_copy(update={"lr": 0.0}))
    labels = (inputs.labels(crop, crop).long() % inputs.classes).to(inputs.device)
    z = inputs.z.permute(0, 3, 1, 2)

    def ours(number: int, precision: Precision) -> Result:
        batch = distill_learn.Batch(
            inputs.views[:number], labels[:number], z[:number], inputs.hypotheses[:number]
        )
        share = Share(number, noise=inputs.noise(number, *distill_learn.noise_of(batch)))
        student.deeplab.precision = precision
        terms = distill_learn.losses(student, inputs.w_query, batch, share, settings, patch)
        loss = sum(terms.values())
        loss.backward()
        still.step()
        return [loss.detach(), *_learned(student)]

    def obvious(number: int) -> Result:
        noise, found = inputs.noise(number, number_of_cells, inputs.classes), []
        student.deeplab.precision = "float32"
        for i in range(number):
            loss = plain.distillation_loss(
                student, inputs.views[i], labels[i], z[i], inputs.w_query, inputs.hypotheses[i],
                noise[i], settings,
            )  # fmt: skip
            loss.backward()
            still.step()
            found += [loss.detach(), *_learned(student)]
        return found

    number_of_cells = (-(-crop // OUTPUT_STRIDE)) ** 2
    many = 1 if inputs.device.type == "cpu" and crop > 100 else inputs.size.batch
    work = _student_work(inputs, settings, number_of_cells)
    return Case(
        "view", obvious, ours, _need(work, RESIZE_BYTES * work.resized), 1, many, FLOATS, 2e-2,
        work=work,
    )  # fmt: skip


def _student_work(inputs: Inputs, settings: DistillSettings, cells: int) -> Work:
    """Return the work on one view, as `reclip.cost.stage_work` counts it."""
    dim, classes, crop = inputs.clip.embed_dim, inputs.classes, inputs.size.crop
    arguments = json.dumps(settings.backbone_args)
    work = flops.student(settings.backbone, arguments, dim, crop).train
    work += flops.distill_image(settings, dim, classes, cells)
    large = settings.feature_resolution == "image"
    resized = 2 * classes * crop**2 + (3 * dim * crop**2 if large else dim * cells)
    return work + Work(resized=resized)


def distillation_image(inputs: Inputs) -> Case:
    """A step of distillation, features compared at the photo's resolution."""
    return _distillation(inputs, "image")


def distillation_grid(inputs: Inputs) -> Case:
    """A step of distillation, features compared on the student's grid."""
    return _distillation(inputs, "grid")


def evaluation(inputs: Inputs) -> Case:
    """All counts of an evaluation: confusion, objects by distance, rings."""
    height, width = inputs.size.photo
    labels = inputs.labels(height, width)
    predicted = torch.roll(labels, (9, 14), (1, 2)).to(torch.int16) % inputs.classes
    predicted = predicted.to(inputs.device)
    bins = EvaluateSettings().distance_bins

    def ours(number: int, precision: Precision) -> Result:
        counts = Counts(inputs.classes, bins)
        for pred, label in zip(predicted[:number], labels[:number].numpy(), strict=True):
            counts.update(pred, label)
        found = counts.distances
        objects = found.counts, found._intersection, found._union
        return [counts.confusion, *objects, counts.rings]

    def obvious(number: int) -> Result:
        pairs = predicted[:number].cpu().numpy(), labels[:number].numpy()
        return plain.counts(*map(list, pairs), inputs.classes, bins)

    need = Need(copied=3.0 * height * width)  # each map read once: int16 and uint8
    return Case("photo", obvious, ours, need, 1, 4, ("integer",), tolerance=0.0)


STAGES: dict[str, Callable[[Inputs], Case]] = {
    "read-photos": read_photos,
    "dense-features": dense_features,
    "text-queries": text_queries,
    "reference-encoder": reference_encoder,
    "rectification": rectification,
    "class-map": class_maps,
    "distillation-image": distillation_image,
    "distillation-grid": distillation_grid,
    "evaluation": evaluation,
}
