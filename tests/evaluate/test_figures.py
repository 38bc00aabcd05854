from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from reclip.common.files import read_json, write_json
from reclip.common.tables import write_table
from reclip.config.load import validate
from reclip.config.models import ClipSettings, ComputeSettings, EvaluateSettings, ImageSettings
from reclip.config.params import Params
from reclip.config.sources import WorldSource
from reclip.data.images import IGNORED
from reclip.data.index import DataSet
from reclip.data.prepare import prepare_world
from reclip.data.reading import Window
from reclip.data.world.bias import PlantedBias
from reclip.data.world.scenes import WORLDS
from reclip.evaluate.figures import companions, curves, style
from reclip.evaluate.figures.by_class import draw_classes, shares
from reclip.evaluate.figures.comparison import Comparison, Result, evenly_spaced
from reclip.evaluate.figures.curves import epoch_means
from reclip.evaluate.figures.heatmaps import most_changed
from reclip.evaluate.shares import row_shares
from reclip.pipeline.artifacts import CURVE_FILE, WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.plan import Plan
from reclip.pipeline.recipes import FIGURE_TABLES, FIGURES
from reclip.presets import preset_text
from reclip.rectify.hypotheses import write_hypotheses
from reclip.rectify.model import PositionalNet, Rectifier
from reclip.stages import evaluate, gather, plot
from support.fake_cache import write_cache


@pytest.mark.parametrize(("count", "chosen"), [(40, [3, 10, 16, 23, 30, 36]), (2, [0, 1])])
def test_photos_are_evenly_spaced(count: int, chosen: list[int]) -> None:
    assert evenly_spaced(count, 6) == chosen


def test_confusion_rows_are_complete_percentages() -> None:
    confusion = np.array([[[3, 1, 0], [0, 0, 0], [2, 0, 6]], [[1, 3, 0], [0, 0, 0], [0, 0, 4]]])
    np.testing.assert_allclose(row_shares(confusion)[0, 0], [75, 25, 0])
    np.testing.assert_allclose(shares(confusion, [0, 2]), [[50, 0, 50], [12.5, 87.5, 0]])
    assert np.isnan(shares(confusion, [1])).all()


def test_a_mini_world_is_drawn_in_confusable_pairs() -> None:
    classes = draw_classes(20, "voc")
    assert len(set(classes)) == 6
    assert {tuple(classes[k : k + 2]) for k in (0, 2, 4)} <= set(WORLDS["voc"].confusable)
    assert len(set(draw_classes(20, None))) == 6
    assert draw_classes(4, None) == [0, 1, 2, 3]


def test_curves_are_averaged_by_epoch() -> None:
    steps, means = epoch_means(np.array([0, 0, 0, 1, 1]), np.array([[1.0, 2, 3, 4, 6]]))
    assert steps.tolist() == [2, 4]
    assert means.tolist() == [[2, 5]]


@pytest.mark.parametrize("steps", [1, 3])
def test_curves_of_any_number_of_steps_are_drawn(tmp_path: Path, steps: int) -> None:
    columns = ("step", "epoch", "lr", "loss", "contrastive")
    rows = [(step, 0, 0.01, 3.0 - step, 3.0 - step) for step in range(steps)]
    evaluations = {}
    for seed in (0, 1):
        model = Job("rectify", "run", tmp_path / f"{seed}", tmp_path, {}, seed=seed)
        write_table(model.folder / CURVE_FILE, columns, rows)
        inputs = {"model": model}
        evaluations[str(seed)] = Job("evaluate", "run", tmp_path, tmp_path, {}, inputs, seed=seed)
    result = Result("rectified", Job("gather", "run", tmp_path, tmp_path, {}, evaluations))
    epochs, losses = result.curves
    assert epochs.tolist() == [0] * steps
    assert losses.tolist() == [[3.0 - step for step in range(steps)]] * 2
    figure = curves.draw([Comparison("voc", {"rectified": result})])
    assert [line.get_xdata()[-1] for line in figure.axes[0].lines] == [steps - 1] * 3


def test_heat_maps_show_the_photo_that_changes_most(tmp_path: Path) -> None:
    def write(id: str, label: list[list[int]]) -> SimpleNamespace:
        path = tmp_path / f"{id}.png"
        Image.fromarray(np.array(label, np.uint8)).save(path)
        return SimpleNamespace(label=path, height=2, width=2)

    # Query prefers class 0 on e0 and class 1 on e1; Reference turns e0 into class 2.
    model = Rectifier(torch.eye(3), torch.tensor([[2.0, 0, 0], [0, 0, 0], [0, 0, 0]]))
    e = torch.eye(3)
    images = [torch.stack([e[i] for i in row]).view(2, 2, 3) for row in ([1, 1, 1, 1], [0, 1, 1, 1],
              [0, 0, 0, 0], [0, 0, 1, 1])]  # fmt: skip
    features = SimpleNamespace(
        pieces=lambda split, i: [(Window(0, 0, 2, 2), images[i])],
        size=lambda split, i: (2, 2),
        patch=1,
        image_settings=ImageSettings(),
    )
    items = [
        write("same", [[0, 0], [0, 0]]),
        write("one", [[0, 0], [0, 0]]),
        write("ignored", [[IGNORED, IGNORED], [IGNORED, IGNORED]]),
        write("two", [[0, 0], [0, 0]]),
    ]
    found = most_changed(model, features, items)
    changes = [(photo.number, share, move[0]) for photo, share, move in found]
    assert changes == [(3, 0.5, 0), (1, 0.25, 0)]
    assert all(move[1] != 0 for _, _, move in found)


def test_pictures_are_the_same_bytes_and_hold_no_metadata(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        with style.applied():
            style.save(style.nothing("there is no reason"), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert set(Image.open(tmp_path / "a.png").info) <= {"dpi"}


def test_masks_show_ignored_pixels_and_classes_apart() -> None:
    for names in (WORLDS["ade"].class_names, [f"class {k}" for k in range(20)]):
        colours = style.class_colours(names)
        assert len(np.unique(colours.round(3), axis=0)) == len(names)
        label = np.full((8, 8), IGNORED, np.uint8)
        label[4:] = 1
        image = style.mask_image(label, names)
        assert np.ptp(image[:4], axis=-1).max() == 0  # white and grey
        np.testing.assert_array_equal(image[4:], np.broadcast_to(colours[1], (4, 8, 3)))
    assert [p.get_label() for p in style.class_patches({IGNORED, 2, 0}, "abc")] == [
        "a", "c", "ignored"
    ]  # fmt: skip


def test_figures_compare_runs_with_equal_settings() -> None:
    params = yaml.safe_load(preset_text("mini"))
    expected = {"query": "ade-query", "rectified": "ade-ref-pe", "distilled": "ade-distill"}
    plan = Plan(validate(Params, params))
    assert plan.experiment.compared("ade") == expected
    job = plan.job("plot", "mini")
    assert len({other.receipt for other in job.inputs.values()}) == len(job.inputs)

    # Overrides decide, not the order.
    params["runs"] = dict(reversed(params["runs"].items()))
    assert Plan(validate(Params, params)).experiment.compared("ade") == expected
    reference = {"query": "ade-query", "reference": "ade-ref"}
    with_reference = plan.experiment.bias_runs("ade")
    assert list(with_reference.items()) == list((reference | expected).items())
    assert job.settings["biased"]["ade"] == with_reference
    assert "gather ade-ref" in job.inputs

    params["runs"] = {"ade-ref": {**params["runs"]["ade-ref"]}}  # the only one there is
    plan = Plan(validate(Params, {**params, "tables": {}, "check": None}))
    assert plan.experiment.compared("ade") == {"rectified": "ade-ref"}
    assert plan.experiment.bias_runs("ade") == {"reference": "ade-ref"}
    assert plan.job("plot", "mini").settings["pictured"] == "ade"


PATCH, DIM = 8, 6


def experiment(folder: Path, world: bool, roles: dict[str, str]) -> Job:
    """A plot job after the evaluation of some runs on random features of four drawn photos."""
    before = {
        stage: Job(stage, "voc", folder / stage, folder, {})
        for stage in ("prepare", "cache-features", "hypothesise")
    }
    prepare_world(WorldSource(kind="world", world="voc", train=1, val=4), before["prepare"].folder)
    data = DataSet(before["prepare"].folder)
    if not world:
        write_json(data.folder / "classes.json", {"names": data.facts["names"]})
    items = data.items("val")
    write_cache(before["cache-features"].folder, {"val": items}, patch=PATCH, dim=DIM)
    guesses = torch.ones(len(items), data.num_classes, dtype=torch.bool)
    write_hypotheses(before["hypothesise"].folder / "val.csv", [i.id for i in items], guesses)

    compute = ComputeSettings(device="cpu")
    inputs = {}
    for role, run in roles.items():
        method, seeds = {"query": ("query", ()), "rectified": ("rectify", (0, 1))}[role]
        stage = "embed-text" if method == "query" else method
        evaluations = {}
        for seed in seeds or (None,):
            model = Job(stage, run, folder / run / f"{stage}-{seed}", folder, {}, seed=seed)
            model.folder.mkdir(parents=True)
            generator = torch.Generator().manual_seed(seed or 0)
            w_query, w_reference = torch.randn(2, data.num_classes, DIM, generator=generator)
            rectifier = Rectifier(w_query)
            if seed is not None:
                embedding = torch.randn(1 + 9, 4, generator=generator)
                net = PositionalNet(4, data.num_classes, (3,))
                rectifier = Rectifier(w_query, w_reference, net, embedding, (3, 3))
                rows = [(step, step // 2, 0.01, 3.0 - step, 3.0 - step) for step in range(4)]
                columns = ("step", "epoch", "lr", "loss", "contrastive")
                write_table(model.folder / CURVE_FILE, columns, rows)
            rectifier.save(model.folder / WEIGHTS_FILE)
            evaluation = Job(
                "evaluate", run, folder / run / f"evaluate-{seed}", folder,
                {"method": method, "compute": compute, "evaluate": EvaluateSettings()},
                inputs={
                    "data": before["prepare"], "features": before["cache-features"],
                    "model": model, "hypotheses": before["hypothesise"],
                },
                seed=seed,
            )  # fmt: skip
            evaluate.main(evaluation)
            evaluations[str(seed)] = evaluation
        gathered = Job(
            "gather", run, folder / run / "gather", folder,
            {"dataset": "voc", "method": method, "seeds": seeds},
            inputs=evaluations,
            outputs=(folder / run / "metrics.json",),
        )  # fmt: skip
        gather.main(gathered)
        inputs[gathered.name] = gathered
    outputs = tuple(folder / "figures" / name for name in (*FIGURES, *FIGURE_TABLES))
    settings = {
        "compared": {"voc": roles} if roles else {},
        "biased": {"voc": roles} if roles else {},
        "pictured": "voc" if roles else None,
        "clip": ClipSettings(model="mini-clip"),
        "compute": compute,
    }
    return Job("plot", "test", folder / "figures", folder, settings, inputs, outputs)


ROLES = {"query": "voc-query", "rectified": "voc-ref-pe"}


@pytest.mark.parametrize(
    ("world", "roles", "empty"),
    [
        (True, ROLES, set()),
        (False, ROLES, {"companions.png"}),
        (True, {"query": "voc-query"}, {"heatmaps.png", "confusion.png"}),
        (True, {}, set(FIGURES)),
    ],
)
def test_every_figure_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: bool, roles: dict, empty: set[str]
) -> None:
    said = []
    plain = style.nothing
    monkeypatch.setattr(style, "nothing", lambda reason: said.append(reason) or plain(reason))
    monkeypatch.setattr(companions, "packaged_bias", PlantedBias)
    job = experiment(tmp_path, world, roles)
    plot.main(job)
    listed = read_json(job.receipt)["outputs"]
    assert set(listed) == {*FIGURES, *FIGURE_TABLES}
    small = {name for name in FIGURES if Image.open(job.folder / name).height < 200}
    assert small == empty
    assert len(set(said)) == len(said) == (1 if not roles else len(empty))
    rows = (job.folder / "companions.csv").read_text().splitlines()
    assert len(rows) == 1 + (len(roles) + ("query" in roles)) * world
    rows = (job.folder / "preference.csv").read_text().splitlines()
    assert len(rows) == 1 + (4 + EvaluateSettings().distance_bins) * len(roles)


@pytest.mark.parametrize("bias", [PlantedBias(companion=0), PlantedBias(central=1.0)])
def test_figures_do_not_need_every_planted_bias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bias: PlantedBias
) -> None:
    monkeypatch.setattr(companions, "packaged_bias", lambda: bias)
    job = experiment(tmp_path, True, {"query": "voc-query"})
    plot.main(job)
    rows = (job.folder / "companions.csv").read_text().splitlines()
    assert len(rows) == (3 if bias.companion else 1)
    assert (Image.open(job.folder / "companions.png").height < 200) == (not bias.companion)


def test_foreign_weights_change_the_figure_of_companions_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(companions, "packaged_bias", PlantedBias)
    job = experiment(tmp_path, True, {"query": "voc-query"})
    written = []
    for clip in ("mini-clip", "ViT-B-16"):
        job.settings["clip"] = ClipSettings(model=clip)
        plot.main(job)
        written.append(read_json(job.receipt)["outputs"])
    differing = {name for name in written[0] if written[0][name] != written[1][name]}
    assert differing == {"companions.png", "companions.csv"}
    assert len((job.folder / "companions.csv").read_text().splitlines()) == 1


@pytest.mark.parametrize("suffix", style.FORMATS)
def test_any_name_is_drawn_as_it_is(tmp_path: Path, suffix: str) -> None:
    """Of classes, runs and photos: a $ begins no formula, and nothing is an error."""
    names = ["A$$AP", "cash $ & co", "$x^2$", "50% \\frac{", "_hidden_", "a|b", "<i>", "#1"]
    with style.applied():
        figure = Figure()
        ax = figure.subplots()
        ax.set(title=names[0], xlabel=names[1], ylabel=names[3])
        ax.set_xticks(range(len(names)), names)
        style.note(figure, ", ".join(names))
        style.class_legend(figure, range(len(names)), names)
        style.save(figure, tmp_path / f"figure{suffix}")
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == names
        assert not any(text.get_parse_math() for text in figure.findobj(Text))
