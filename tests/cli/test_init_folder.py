"""`reclip init folder`: what is chosen for a person's photos, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from PIL import Image

from reclip.cli.init import in_words
from reclip.clip.shape import clip_shape
from reclip.config.classes import parse_classes
from reclip.config.load import load_params, validate
from reclip.config.params import Params
from reclip.distill import OUTPUT_STRIDE
from reclip.pipeline.plan import Plan
from reclip.presets import PRESETS, preset_text
from reclip.presets.choose import STUDENT_CELL, Machine, Photos, Reading, choose
from reclip.presets.folder import comment, flow
from reclip.presets.sizes import SIZES, Size, usual_hours
from support.at_the_shell import Said, one_sentence, reclip
from support.expanded import save_expanded
from support.folder_of_scenes import NAMES, draw

CLASSES = "cat, dog, person=person|man|woman"
REAL = {"model": "ViT-B-16-quickgelu", "pretrained": "openai"}
MINI = {"model": "mini-clip"}
GPU, CPU = Machine(True, 16, 10**12), Machine(False, 8, 10**12)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos of 64×48, and one that is damaged."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for i in range(3):
        Image.new("RGB", (64, 48), (9, 9, 9)).save(f"photos/{i}.jpg")
    Path("photos/bad.jpg").write_bytes(b"no photo")
    return tmp_path


def init(*options: str, images: str = "photos", classes: str = CLASSES) -> Said:
    quick = () if "--calibrate" in options else ("--no-calibrate",)  # it takes some seconds
    given = ("--images", images, "--classes", classes, *quick, *options)
    return reclip("init", "folder", *given)


def sections(
    count: int, of: tuple[int, int], names: str, clip: dict, machine: Machine, size: Size = SIZES[0]
) -> dict:
    reading = Reading(clip, "QuickGELU")
    chosen = choose(Photos(count, of), parse_classes(names), reading, machine, size)
    assert all(c.why and "\n" not in c.why for c in chosen)
    return {c.section: c.value for c in chosen}


# ---------------------------------------------------------------- what is written


@pytest.mark.parametrize("options", [(), ("--clip", "mini-clip"), ("--clip", "ViT-B-32")])
def test_it_writes_whole_settings_and_says_why(options: tuple[str, ...]) -> None:
    said = init(*options, "--output", "own.yaml", "--experiment", "pets", "--limit", "3")
    assert said.code == 0 and not said.err, said
    text = Path("own.yaml").read_text(encoding="utf-8")
    params = load_params("own.yaml")
    source = params.datasets["photos"].source
    assert (params.experiment, source.images, source.limit) == ("pets", "photos", 3)
    assert source.classes == (("cat",), ("dog",), ("person", "man", "woman"))
    assert "wrote own.yaml; now run: snakemake --config params=own.yaml" in said.out
    assert said.out.endswith("--model results/pets/runs/distilled/model\n")
    assert "then read results/pets/summary/summary.md, and use the model:" in said.out
    assert "note: so few photos are only a trial" in said.out
    assert said.out.startswith("3 photos of about 64×48 pixels; 3 classes: cat, dog, person\n")
    for section in ("compute", "clip", "views", "hypotheses", "rectify", "distill"):
        assert re.search(rf"^{section}: .+ \(.+\)$", said.out, re.M), section
        assert f"\n# {section}: " in text and f"\n{section}: {{" in text
    assert all(len(line) <= 120 for line in text.splitlines())
    assert {job.stage for job in Plan(params).jobs} >= {"rectify", "distill", "summarise"}
    assert params.tables == {} and set(params.runs) == {"rectified", "distilled"}


def test_with_labels_there_are_a_table_and_the_query() -> None:
    draw(Path("val"), 3, "val", Path("labels"))
    said = init("--clip", "mini-clip", "--val-images", "val", "--val-labels", "labels",
                classes=", ".join(NAMES))  # fmt: skip
    assert said.code == 0, said
    plan = Plan.load()
    assert [row.row for row in plan.params.tables["table1"].rows] == [
        "Query", "Rectified", "Distilled",
    ]  # fmt: skip
    assert plan.job("tabulate", "table1").inputs.keys() == {"query", "rectified", "distilled"}


@pytest.mark.parametrize("name", ["my photos", "ünï'cö\"de", "a: b, {c} #d", "no", "2012", "-x"])
def test_odd_names_of_folders_and_classes(name: str) -> None:
    Path("photos").rename(f"./{name}")
    said = init("--clip", "mini-clip", images=f"./{name}", classes="no, 7 up, it's, null, y z")
    assert said.code == 0, said
    params = load_params("params.yaml")
    assert params.datasets["photos"].source.images == f"./{name}"
    names = [names[0] for names in params.datasets["photos"].source.classes]
    assert names == ["no", "7 up", "it's", "null", "y z"]
    assert re.fullmatch(r"[A-Za-z0-9][\w-]*", params.experiment)


def test_classes_of_a_file_and_any_setting() -> None:
    Path("names.txt").write_text("cat\ndog\n# none\n", encoding="utf-8")
    options = ("--clip", "mini-clip", "--set", "rectify.lr=0.02", "--set", "seeds.rectify=[3]",
               "--set", "seeds.distill=[3]")  # fmt: skip
    assert init(*options, classes="names.txt").code == 0
    params = load_params("params.yaml")
    assert params.datasets["photos"].source.classes == (("cat",), ("dog",))
    assert (params.rectify.lr, params.seeds.rectify) == (0.02, (3,))
    assert "# rectify: " in Path("params.yaml").read_text(encoding="utf-8")  # comments stay


def test_photos_that_cannot_be_read_are_said() -> None:
    said = init("--clip", "mini-clip")
    assert "\nnote: 1 of the measured photos cannot be read and will be skipped\n" in said.out


def test_weights_from_a_file() -> None:
    """Whose activation and captions we do not know: the user says the one, and the other stands."""
    save_expanded(Path("own.pt"), "ViT-B-16")
    said = one_sentence(init("--checkpoint", "own.pt"))
    assert "own.pt' does not show whether it was trained with QuickGELU" in said
    model = ("--set", "clip.model=ViT-B-16", "--set", "clip.activation=gelu")
    said = init("--checkpoint", "own.pt", *model, classes="猫, 犬")
    assert said.code == 0 and "note: activation: GELU in the image tower" in said.out, said
    clip = load_params("params.yaml").clip
    assert (clip.model, clip.checkpoint, clip.pretrained) == ("ViT-B-16", "own.pt", None)


@pytest.mark.parametrize("value", ["a", "a b", "no", "1", "a: b", "#", "ü", {"a": [1, "no"]}, ""])
def test_values_survive_yaml(value: object) -> None:
    assert yaml.safe_load(f"x: {flow(value)}") == {"x": value}
    assert yaml.safe_load(comment(f"{value} " * 99)) is None


# ---------------------------------------------------------------- what is chosen


def test_drawn_scenes_get_the_settings_of_mini() -> None:
    """So that what `mini` reaches can be reached from a folder of its scenes."""
    found = sections(1000, (76, 84), ", ".join(NAMES), MINI, CPU)
    mini = validate(Params, yaml.safe_load(preset_text("mini")))
    changed = {"experiment": "x", "datasets": {}, "runs": {}}
    own = validate(Params, {**found, **changed})
    for section in ("compute", "clip", "image", "prompts", "views"):
        assert getattr(own, section) == getattr(mini, section), section
    # Here all photos train, and the bias model is mini-strong's.
    own_ways = {"rectify": {"model": "reclip++", "gumbel_scale": 5}, "distill": {"head": "query"}}
    for section, changes in own_ways.items():
        wanted = getattr(mini, section).model_copy(update={"held_out": 0, **changes})
        assert getattr(own, section) == wanted, section


def test_a_gpu_gets_the_papers_sizes() -> None:
    paper = yaml.safe_load(preset_text("paper"))
    found = sections(1464, (375, 500), ", ".join(f"c{k}" for k in range(20)), REAL, GPU)
    assert found["rectify"] == {**paper["rectify"], "model": "reclip++", "gumbel_scale": 100}
    # Read as by the extractor that is taken.
    assert found["image"] == {**paper["image"], "short_side": 336}
    assert found["views"] == {**paper["views"], "crop": 336}
    own = {"head": "query", "feature_resolution": "grid", "logit_scale": 30}
    assert found["distill"] == {**paper["distill"], **own}
    assert found["compute"]["loaders"] > 0


@pytest.mark.parametrize("machine", [GPU, CPU])
def test_clip_reads_photos_as_it_was_trained(machine: Machine) -> None:
    """Not as the paper does: GELU and ImageNet's mean cost 25 points on VOC."""
    found = sections(300, (375, 500), CLASSES, REAL, machine)
    assert found["clip"] == {**REAL, "attention": "naclip", "residual": False, "mlp": False}
    own = {"experiment": "x", "datasets": {}, "runs": {}}
    clip = validate(Params, {**found, **own}).clip
    assert (clip.activation, clip.norm, clip.block_ln_eps) == ("default", "clip", None)


@pytest.mark.parametrize("options", [(), ("--clip", "ViT-B-32"), ("--clip", "ViT-L-14-quickgelu")])
def test_the_reading_is_told(options: tuple[str, ...]) -> None:
    said = init(*options)
    words = "as it was trained: with QuickGELU, and with CLIP's mean and deviation"
    assert said.code == 0 and words in said.out
    extractor = "each patch keeps its own value" if options else "look at their neighbours"
    assert extractor in said.out
    # In the file, too, where the comment is folded.
    assert words in " ".join(Path("params.yaml").read_text().replace("#", "").split())


def steps(section: dict, photos: int) -> int:
    return section["epochs"] * -(-photos // section.get("batch", 16))


@pytest.mark.parametrize("count", [1, 30, 500, 10_000, 100_000])
def test_steps_are_about_those_of_the_preset(count: int) -> None:
    found = sections(count, (375, 500), CLASSES, REAL, GPU)
    for section, wanted, epochs in (("rectify", 18_400, 200), ("distill", 9_200, 100)):
        least = min(wanted, 5 * epochs * -(-count // 16))
        assert 0.7 * least <= steps(found[section], count) <= 1.4 * least, section


def test_without_a_gpu_all_is_smaller() -> None:
    for size in SIZES:
        found = sections(300, (3000, 4000), CLASSES, REAL, CPU, size)
        assert (found["image"]["short_side"], found["views"]["crop"]) == (224, size.crop)
        assert found["distill"]["backbone"] == "resnet18"
        assert 900 <= steps(found["rectify"], 300) <= 1100
        assert 0.8 * size.steps <= steps(found["distill"], 300) <= 1.2 * size.steps
        assert found["compute"]["threads"] == 8


@pytest.mark.parametrize("model", ["ViT-L-14-quickgelu", "ViT-B-32-quickgelu"])
@pytest.mark.parametrize(("machine", "side"), [(CPU, 150), (GPU, 500)])
def test_a_crop_is_of_whole_cells_of_teacher_and_student(model, machine, side) -> None:
    """Where both grids end with the crop, their cells keep their places when they are resized."""
    assert STUDENT_CELL == OUTPUT_STRIDE
    clip = {"model": model, "pretrained": "openai"}
    for size in SIZES:
        crop = sections(300, (375, 500), CLASSES, clip, machine, size)["views"]["crop"]
        assert crop % clip_shape(model).patch == crop % OUTPUT_STRIDE == 0
        assert crop > 0.7 * min(size.crop, side)


def test_sizes_get_smaller() -> None:
    cost = [size.crop**2 * size.steps for size in SIZES]
    assert cost == sorted(cost, reverse=True) and len(set(cost)) == len(cost)


@pytest.mark.parametrize(
    ("size", "side"), [((375, 500), 336), ((4000, 3000), 336), ((200, 300), 288), ((16, 16), 32)]
)
def test_photos_are_hardly_enlarged(size: tuple[int, int], side: int) -> None:
    found = sections(100, size, CLASSES, REAL, GPU)
    assert found["image"]["short_side"] == found["views"]["crop"] == side


@pytest.mark.parametrize(
    ("free", "views", "side"), [(10**12, 4, 336), (31e9, 2, 336), (15e9, 1, 256), (1e9, 1, 224)]
)
def test_the_feature_cache_fits_the_disk(free: float, views: int, side: int) -> None:
    found = sections(10_000, (375, 500), CLASSES, REAL, Machine(True, 8, int(free)))
    assert (found["views"]["count"], found["image"]["short_side"]) == (views, side)


@pytest.mark.parametrize("clip", [REAL, MINI])
def test_no_threshold_of_another_clip_is_taken(clip: dict) -> None:
    assert sections(100, (375, 500), CLASSES, clip, GPU)["hypotheses"] == {"relative": 0.7}


def test_one_photo_is_a_trial() -> None:
    for path in ("photos/1.jpg", "photos/2.jpg", "photos/bad.jpg"):
        Path(path).unlink()
    said = init("--clip", "mini-clip")
    assert said.code == 0 and "\nnote: so few photos are only a trial" in said.out


# ---------------------------------------------------------------- how long it takes


def time_of(said: Said) -> float:
    """Return the minutes that are said."""
    (found,) = re.findall(r"^time: about ([\d.]+) (minute|hour)s? for all jobs, ", said.out, re.M)
    return float(found[0]) * (60 if found[1] == "hour" else 1)


def test_the_time_is_said_and_more_of_it_gives_a_larger_training() -> None:
    for i in range(40):
        Image.new("RGB", (500, 375), (9, 9, i)).save(f"photos/more-{i}.jpg")
    times, trained = [], []
    for hours in ("0.5", "3", "20"):
        said = init("--hours", hours, "--force")
        times.append(time_of(said))
        params = load_params("params.yaml")
        trained.append((params.views.crop, params.distill.epochs))
        assert ("note: the training is " in said.out) == (hours != "20"), said.out
        if hours != "0.5":
            assert times[-1] <= 60 * float(hours)
    assert times == sorted(times) and trained == sorted(trained)
    assert "if this machine is a slow one" in said.out
    # A setting that is changed counts.
    assert time_of(init("--hours", "20", "--force", "--set", "distill.epochs=2")) < times[-1] / 2


def test_the_time_can_be_measured_here() -> None:
    said = init("--clip", "mini-clip", "--calibrate")
    assert "for all jobs, as measured on this machine" in said.out
    assert time_of(said) < 60


def test_a_hundred_photos_may_take_an_hour_and_half_of_it_in_bfloat16() -> None:
    hours, fast = (
        [usual_hours(photos, bfloat16=reduced) for photos in (1, 40, 100, 1000)]
        for reduced in (False, True)
    )
    assert hours == sorted(hours) and hours[1] < 40 / 60 and hours[2] < 1
    assert fast == [time / 2 for time in hours]


@pytest.mark.parametrize("known", ["float32", "bfloat16"])
def test_the_time_that_it_may_take_depends_on_the_processor(
    known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without bfloat16 does not get a smaller training for being slower."""
    for i in range(40):
        Image.new("RGB", (500, 375), (9, 9, i)).save(f"photos/more-{i}.jpg")
    monkeypatch.setattr("reclip.presets.folder.resolve", lambda *_: known)
    monkeypatch.setattr("reclip.cost.forecast.Forecast.hours", lambda *_: 0.4)
    said = init()
    assert ("note: the training is " in said.out) == (known == "bfloat16"), said.out


@pytest.mark.parametrize(
    ("hours", "said"),
    [(0.001, "about 1 minute"), (0.6, "about 36 minutes"), (2.04, "about 2.0 hours"),
     (33.3, "about 33 hours")],
)  # fmt: skip
def test_times_in_words(hours: float, said: str) -> None:
    assert in_words(hours) == said


# ---------------------------------------------------------------- whose results they are


def two_folders_of_one_name() -> tuple[str, str]:
    for folder in ("a/shots", "b/shots"):
        Path(folder).mkdir(parents=True)
        Image.new("RGB", (64, 48)).save(f"{folder}/0.jpg")
    return "a/shots", "b/shots"


def named(images: str, *options: str, output: str) -> tuple[str, Said]:
    """Return the experiment of a settings file that is written, and what is said."""
    said = init("--clip", "mini-clip", "--output", output, "--force", *options, images=images)
    assert said.code == 0, said
    return load_params(output).experiment, said


def plan_once(settings: str) -> None:
    assert reclip("plan", "--params", settings).code == 0


@pytest.mark.parametrize("ran", [True, False])
def test_a_second_folder_of_a_name_gets_results_of_its_own(ran: bool) -> None:
    one, other = two_folders_of_one_name()
    name, said = named(one, output="one.yaml")
    assert name == "shots" and "note: the experiment" not in said.out
    if ran:  # then results say whose they are, even without the settings file
        plan_once("one.yaml")
        Path("one.yaml").unlink()
    name, said = named(other, output="other.yaml")
    assert name == "shots-2"
    assert "note: the experiment is shots-2, because shots is photos of '" in said.out
    assert "then read results/shots-2/summary/summary.md" in said.out
    plan_once("other.yaml")
    assert named(one, output="one.yaml")[0] == "shots"  # again: each keeps its own
    assert named(other, "--limit", "1", output="other.yaml")[0] == "shots-2"
    assert named(str(Path(other).resolve()), output="third.yaml")[0] == "shots-2"


@pytest.mark.parametrize("option", [("--experiment", "shots"), ("--set", "experiment=shots")])
def test_a_name_that_another_folder_has_is_refused(option: tuple[str, str]) -> None:
    one, other = two_folders_of_one_name()
    named(one, output="one.yaml")
    plan_once("one.yaml")
    own = ("--clip", "mini-clip", "--output", "other.yaml")
    said = init(*own, *option, images=other)
    assert "experiment 'shots' belongs to photos of '" in one_sentence(said)
    assert not Path("other.yaml").exists()
    assert init(*own, *option, images=one).code == 0
    said = reclip("init", "mini", "--output", "mini.yaml", "--set", "experiment=shots")
    assert "experiment 'shots' belongs to photos of '" in one_sentence(said)


@pytest.mark.parametrize("name", PRESETS)
def test_a_folder_named_like_a_preset_gets_another_name(name: str) -> None:
    Path("photos").rename(name)
    found, said = named(name, output="own.yaml")
    assert found == f"{name}-2" and f"because {name} is preset {name}" in said.out
    for option in (("--experiment", name), ("--set", f"experiment={name}")):
        said = init("--clip", "mini-clip", "--output", "x.yaml", *option, images=name)
        assert f"experiment '{name}' belongs to preset {name}: choose" in one_sentence(said)


def test_results_of_unknown_photos_are_not_replaced() -> None:
    Path("results/photos").mkdir(parents=True)
    assert named("photos", output="own.yaml")[0] == "photos"  # nothing in it
    Path("results/photos/model.safetensors").write_bytes(b"mine")
    assert named("photos", output="own.yaml")[0] == "photos-2"


def test_other_files_beside_settings_are_no_trouble() -> None:
    Path("list.yaml").write_text("- a\n", encoding="utf-8")
    Path("broken.yaml").write_text("a: [", encoding="utf-8")
    Path("latin.yml").write_bytes(b"a: \xe9")
    Path("other.yaml").write_text("experiment: photos\ndatasets: {x: {}}\n", encoding="utf-8")
    assert named("photos", output="own.yaml")[0] == "photos"


# ---------------------------------------------------------------- what is refused


def mess(*paths: str) -> None:
    for path in paths:
        Path(path).mkdir(parents=True)


WRONG = [
    (("--classes", ""), "--classes is missing: reclip init folder --images DIR --classes"),
    (("--classes", ","), "a name is missing before or after a mark"),
    (("--classes", "cat, cat"), "listed twice: keep it once"),
    (("--classes", "cat, 猫, собака"), "masks of '猫', 'собака' would be noise: use English names"),
    (("--classes", f"cat, {'very ' * 70}dog"), "makes prompts of 82 tokens and CLIP reads 77"),
    (("--classes", "lost.txt"), "Cannot read 'lost.txt': No such file or directory"),
    (("--images", ""), "--images is missing"),
    (("--images", "nowhere"), "--images: there is no folder 'nowhere'"),
    (("--images", "photos/0.jpg"), "'photos/0.jpg' is a file: name the folder"),
    (("--images", "empty"), "--images: 'empty' holds no photo"),
    (("--images", "corrupt"), "no photo in 'corrupt' can be read (the first: 'corrupt/0.jpg'"),
    (("--images", "."), "'.' also holds the results"),
    (("--val-images", "photos"), "--val-images needs --val-labels: give photos and their label"),
    (("--val-labels", "photos"), "--val-labels needs --val-images"),
    (("--val-images", "empty", "--val-labels", "corrupt"), "--val-images: 'empty' is empty"),
    (("--val-images", "corrupt", "--val-labels", "photos"), "'photos' lie in one another"),
    (("--clip", "ViT-B-61"), "no weights of 'ViT-B-61'"),
    (("--clip", "RN50"), "the towers of 'RN50' differ from CLIP's ViT"),
    (("--checkpoint", "lost.pt"), "no checkpoint 'lost.pt': give the path of a weights file"),
    (("--experiment", "a b"), "params: 'experiment'"),
    (("--set", "rectify.lr=-1"), "'rectify.lr': input should be greater"),
    (("--archive", "x.tar"), "Preset 'folder' does not accept --archive: remove this option"),
    (("--downloads", "x"), "Preset 'folder' does not accept --downloads"),
]


@pytest.mark.parametrize(("options", "words"), WRONG)
def test_a_wrong_option_is_one_sentence_and_writes_nothing(options, words) -> None:
    mess("empty", "corrupt")
    Path("corrupt/0.jpg").write_bytes(b"no photo")
    assert words in one_sentence(init("--output", "own.yaml", *options))
    assert not Path("own.yaml").exists()


def test_an_output_that_is_there_is_kept() -> None:
    Path("params.yaml").write_text("mine")
    assert "'params.yaml' already exists: choose another --output or add" in one_sentence(init())
    assert Path("params.yaml").read_text() == "mine"
    assert init("--force", "--clip", "mini-clip").code == 0


def test_options_of_the_folder_are_for_no_other_preset() -> None:
    said = reclip("init", "voc", "--images", "photos", "--output", "own.yaml")
    assert "Preset 'voc' does not accept --images: remove this option" in one_sentence(said)
