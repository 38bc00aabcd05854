"""The steps of training that are measured: Reference prompt, rectification and distillation."""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
from torch import Tensor, nn

from reclip.clip.text import ReferenceEncoder
from reclip.config.models import DistillSettings
from reclip.cost import flops
from reclip.cost.machines import RESIZE_BYTES, Work
from reclip.distill import OUTPUT_STRIDE
from reclip.distill import learn as distill_learn
from reclip.rectify import learn as rectify_learn
from reclip.training.loop import make_sgd
from reclip.training.objective import Objective
from reclip.training.share import Share
from reclip.training.task import Task
from speed import plain
from speed.case import Case, Result
from speed.inputs import SEED, Inputs
from speed.limits import FLOATS, Need, Precision


def _learned(model: nn.Module) -> list[Tensor]:
    """Return the gradients of a model as one vector, and remove them."""
    found = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    return [torch.cat(found)]


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
        Need.of(_reference_work(inputs)),
        tolerance=1e-2,
    )


def rectification(inputs: Inputs) -> Case:
    """A step of rectification on cached features: loss, gradient and update."""
    return _rectification(inputs, compiled=False)


def rectification_compiled(inputs: Inputs) -> Case:
    """The same with `compute.compile`."""
    return _rectification(inputs, compiled=True)


def _rectification(inputs: Inputs, compiled: bool) -> Case:
    model, settings, cells = inputs.bias, inputs.size.rectify, inputs.side**2
    still = make_sgd(model, settings.model_copy(update={"lr": 0.0}))  # every step is the first
    generator = torch.Generator(inputs.device)
    task = Task(
        model,
        load=lambda *_: None,
        losses=lambda batch, share: rectify_learn.losses(model, batch, share, settings),
        save=lambda _: None,
        noise=generator,
        noise_of=rectify_learn.noise_of,
    )
    objective = Objective(task, compiled=compiled)

    def ours(number: int, precision: Precision) -> Result:
        generator.manual_seed(SEED)
        z = inputs.z[:number]
        valid = torch.ones(z.shape[:3], dtype=torch.bool, device=z.device)
        batch = rectify_learn.Batch(z, valid, inputs.hypotheses[:number])
        loss = objective.backward(number, [(slice(0, number), batch, {})])["contrastive"]
        still.step()
        return [loss, *_learned(model)]

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
    return Case("view", obvious, ours, Need.of(1 / many * step), 1, many, tolerance=2e-2)


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
        "view", obvious, ours, Need.of(work, RESIZE_BYTES * work.resized), 1, many, FLOATS, 2e-2,
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
