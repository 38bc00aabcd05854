"""The memory of jobs, compared with the real steps and between settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from reclip.config.models import DistillSettings, RectifySettings
from reclip.cost import memory, meta, network_memory
from reclip.cost.facts import Facts
from reclip.cost.memory import NEED_OF
from reclip.cost.need import CUDA_DEVICE, CUDA_HOST, Need
from reclip.cost.peak import peak
from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
from reclip.distill.losses import distillation_loss
from reclip.pipeline.plan import Plan
from reclip.pipeline.stages import STAGES

MANY = {"datasets": {"voc": {"source": {"train": 5000}}}}


@pytest.fixture
def need(tiny_plan: Callable[..., Plan]) -> Callable[..., Need]:
    """`need(stage, changes)`: of the first job of a stage of the tiny experiment, changed."""

    def of(stage: str, changes: dict[str, Any] | None = None, id: str | None = None) -> Need:
        plan = tiny_plan(changes)
        return NEED_OF[stage](Facts(plan), id or plan.ids(stage)[0])

    return of


def test_a_device_holds_what_computes() -> None:
    need = Need(libraries=1, host=10, loading=100, computing=1000)
    assert need.on_cpu == 1 + 10 + 1000
    assert need._replace(computing=50).on_cpu == 1 + 10 + 100
    assert need.beside_gpu == 1 + 10 + 100 + CUDA_HOST
    assert need.on_gpu == 1000 + CUDA_DEVICE


def test_every_stage_has_its_need(tiny_plan: Callable[..., Plan]) -> None:
    assert set(NEED_OF) == set(STAGES)
    facts = Facts(tiny_plan())
    for job in facts.plan.jobs:
        found = NEED_OF[job.stage](facts, job.id)
        assert 0.05e9 < found.on_cpu < 1.5e9, job.name
        if job.stage != "summarise":  # which has no photos here
            assert (found.computing > 0) == ("compute" in job.settings), job.name


def test_trainings_grow_with_their_batch_and_views_up_to_a_limit(need) -> None:
    for stage in ("rectify", "distill", "probe"):
        small, large = (need(stage, {**MANY, stage: {"batch": n}}) for n in (8, 16))
        assert small.computing < large.computing < 2 * small.computing, stage
        assert small.host < large.host, stage
    few, many = need("distill"), need("distill", MANY)
    assert few.host < 30e6 < many.host
    most = need("distill", {**MANY, "views": {"count": 100}}).host
    assert memory.MEMORY < most < memory.MEMORY + 200e6
    # A batch holds no more than all photos.
    assert need("distill", {"distill": {"batch": 1000}}).computing == (
        need("distill", {"distill": {"batch": 6}}).computing
    )


def test_processes_and_micro_batches_divide_a_batch(need) -> None:
    for stage in ("rectify", "distill", "probe"):
        whole = need(stage, {**MANY, stage: {"batch": 8}})
        smaller = need(stage, {**MANY, stage: {"batch": 16, "micro_batch": 8}})
        assert smaller.computing == whole.computing, stage
        shared = need(stage, {**MANY, stage: {"batch": 16}, "compute": {"gpus": 2}})
        assert shared.computing == whole.computing, stage


def test_pamr_keeps_the_weights_of_a_photo(need, tiny_plan) -> None:
    """They are of 8 neighbours a dilation of each pixel, 4 bytes each. A student has none."""

    def computing(stage: str, run: str, **asked: Any) -> int:
        return need(stage, {stage.replace("-", "_"): asked}, run).computing

    photos = Facts(tiny_plan()).photos("voc", "train", "val")
    weights = 8 * 4 * max(math.prod(photo.size) for photo in photos)
    for stage in ("evaluate", "pseudo-mask"):
        plain = computing(stage, "ref-pe")
        one, two = (computing(stage, "ref-pe", pamr=2, pamr_dilations=d) for d in ([8], [8, 8]))
        assert plain + weights < one < two < plain + 20 * weights, stage
        assert computing(stage, "ref-pe", pamr=10, pamr_dilations=[8, 8]) == two
    assert computing("evaluate", "distill", pamr=10) == computing("evaluate", "distill")


def test_features_at_image_resolution_take_most(need) -> None:
    grid, image = (
        need("distill", {"distill": {"feature_resolution": name}}) for name in ("grid", "image")
    )
    assert image.computing > grid.computing
    without = need("distill", {"distill": {"feature_resolution": "image", "alpha": 0}})
    assert without.computing <= grid.computing


def test_batches_ahead_and_lists_of_photos_stay_on_the_host(need) -> None:
    for stage in ("cache-features", "rectify", "distill"):
        none, eight = need(stage), need(stage, {"compute": {"loaders": 8}})
        assert eight.host > none.host and eight.computing == none.computing, stage
    assert need("hypothesise", MANY).host > 100 * need("hypothesise").host


def test_windows_take_a_second_clip_but_no_more_for_more_photos(need) -> None:
    on_windows = {"hypotheses": {"image": "windows", "window": 24, "stride": 12}}
    clip = meta.size_of(meta.clip("mini-clip").model)
    plain, windows = need("cache-features"), need("cache-features", on_windows)
    assert windows.loading == plain.loading + clip
    assert windows.computing >= plain.computing + clip
    few = need("hypothesise", on_windows)
    smaller = {"hypotheses": {**on_windows["hypotheses"], "stride": 6}}
    assert need("hypothesise", smaller).host > few.host
    photos = 5000 - 6  # which take no memory beside their places in lists
    more = need("hypothesise", {**MANY, **on_windows})
    assert more.host - few.host == pytest.approx(photos * memory.PHOTO, rel=0.05)


def test_a_step_of_distillation_takes_as_much_as_the_real_one(tiny_params) -> None:
    """The backbone and the losses are measured apart on the meta device, here together."""
    settings = DistillSettings(
        backbone="test_resnet", pretrained=False, batch=4, feature_resolution="image"
    )
    classes, dim, crop, side = 5, 16, 96, 6
    predicted = network_memory.distill_step(settings, dim, classes, crop, side**2)
    texts = torch.randn(classes, dim)
    student = Student(
        DeepLabV2("test_resnet", dim),
        SegmentationHead(settings.head, classes, dim, w_q=texts, w_r=texts),
    ).train()

    def step() -> None:
        z, labels = torch.randn(4, dim, side, side), torch.zeros(4, crop, crop).long()
        wanted = torch.ones(4, classes) > 0
        terms = distillation_loss(
            *student(torch.zeros(4, 3, crop, crop)), labels, z, texts, wanted, settings, 1.0
        )
        sum(terms.values()).backward()

    assert predicted == pytest.approx(peak(step), rel=0.15)


@pytest.mark.parametrize("model", ["reclip", "reclip++"])
def test_a_step_of_rectification_is_that_of_all_layers(model: str) -> None:
    """It is computed from the first two layers of the text tower."""
    settings = RectifySettings(model=model, batch=4, prompt_length=20)
    predicted, learned = network_memory.rectify("ViT-B-16", 5, 3, 6, settings)
    clip = meta.clip("ViT-B-16")
    names = meta.class_names("ViT-B-16", 5, 3)
    with torch.device("meta"):
        query = meta.tensor(5, clip.embed_dim)
        learner = network_memory.build_model(clip, names, query, settings).train()
    whole = peak(lambda: network_memory._rectify_step(learner, settings, 5, 6))
    assert predicted == pytest.approx(whole, rel=0.02)
    assert learned == sum(4 * p.numel() for p in learner.parameters() if p.requires_grad)


def test_the_prediction_of_a_large_photo_holds_what_the_decoder_reads(need) -> None:
    plus = {"rectify": {"model": "reclip++"}, "distill": {"head": "query"}}
    reclip, more = (need("evaluate", changes, "ref-pe") for changes in ({}, plus))
    assert reclip.computing < more.computing
    settings = RectifySettings(model="reclip++")
    held = network_memory.decoded("ViT-B-16", 20, settings, (100, 150))
    values = 100 * 150 * (512 + 512 + 20)  # Z, and [Z; M] beside it; before it, P and its input
    assert 4 * values < held < 2 * 4 * values


def test_a_decoder_holds_features_and_gradients_of_every_image() -> None:
    """Batch 1 to 9 adds 8 images: each with [Z; M] and its gradient at least."""
    more = []
    for model in ("reclip", "reclip++"):
        settings = RectifySettings(model=model, prompt_length=4)
        peaks = [
            network_memory.rectify(
                "ViT-B-16", 5, 3, 40, settings.model_copy(update={"batch": batch})
            )[0]
            for batch in (1, 9)
        ]
        more.append(peaks[1] - peaks[0])
    held = 8 * 40**2 * (512 + 5) * 4
    assert 2 * held < more[1] - more[0] < 4 * held
