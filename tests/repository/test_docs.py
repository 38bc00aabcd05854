"""Run every command of the pages, and check every file, link, option and setting in them.

Commands run in a project of `mini` whose stages compute nothing and whose results are recorded.
Commands that use a trained model run in this process, with a real model. INSTEAD lists commands
that no test can run, with the reason and the command that runs in their place.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click import Group
from PIL import Image

from reclip.cli.main import cli
from reclip.common.files import file_sha256, read_json, write_json
from reclip.config.params import DATASET_SECTIONS, Params
from reclip.pipeline.stages import STAGES
from support.at_the_shell import reclip
from support.paths import ROOT
from support.stand_ins import Project, make_project

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "SECURITY.md",
    ROOT / "CONTRIBUTING.md",  # last: a dataset that it adds makes tables stale
]
FENCE = re.compile(r"^([ ]*)```(\w*)\n(.*?)^\1```$", re.M | re.S)
PYTEST = re.compile(r"pytest (?:-n 0 )?([^-].*?)(?: -k .*)?")

# A command, as a pattern -> the command that runs instead ("" for none), and why. All others run.
INSTEAD = {
    r"make (\S+)": (r"make -n \1", "sets an environment up, serves, or takes minutes"),
    r"source \S+": ("", "this environment is active"),
    r"pytest .*": ("", "these are the tests; test_paths_of_pytest_exist looks at the paths"),
    r"pre-commit install": ("", "writes into .git"),
    r".*(?:camvid|class-areas|class-frequency).*": ("", "needs the code that the page adds"),
    r"export MLFLOW_TRACKING_URI=\S+": ("", "a setting of the shell"),
    r"snakemake mini_clip mini_backbone": (
        "snakemake -n mini_clip mini_backbone",
        "nine minutes of training",
    ),
    r"(snakemake .*params=(?:paper|checked|voc|strong|mini-strong)\.yaml.*)": (
        r"\1 -n",
        "downloads, or a hundred jobs",
    ),
    r"(reclip plan --cost .*|reclip init folder .*)": (
        r"\1 --no-calibrate",
        "measures the machine for some seconds",
    ),
    r"reclip export .*": ("reclip export --help", "15 s; tests/inference/test_onnx.py exports"),
    r"(reclip predict .*--model )\S+\.onnx(.*)": (
        r"\1results/photos/runs/distilled/model\2",
        "nothing was exported; tests/inference/test_predict_command.py predicts by ONNX",
    ),
    r"reclip figure heatmaps .*": (
        "reclip figure heatmaps --help",
        "nothing was trained; tests/cli/test_figure_command.py draws them",
    ),
    r"python benchmarks/(bench|overhead|own_photos|strong|versions)\.py.*": (
        "",
        "ten minutes and more",
    ),
    r"python benchmarks/scale\.py .*": ("", "tests/repository/test_scale.py runs it"),
    r'sbatch .* --wrap "(snakemake .*)"': (r"\1 -n", "no cluster"),
    r"snakemake .*profiles/(slurm|gpus).*": (
        "",
        "no cluster, and the data are stand-ins; tests/workflow/test_resources.py plans with them",
    ),
    r"reclip plan --resources .*--params paper\.yaml": (
        "reclip plan --help",
        "another page writes paper.yaml",
    ),
    r"reclip distill .*--gpus all.*": (
        "reclip distill --help",
        "no GPU; tests/training/test_processes.py trains in two processes",
    ),
    r"dvc push": ("", "no remote; tests/workflow/test_dvc_share.py has one"),
    r"reclip restore": ("reclip restore --help", "no remote; test_dvc_share.py has one"),
    r"reclip verify": (
        "reclip verify --help",
        "nothing was committed; test_verify.py has a record",
    ),
    r"dvc remote .*": ("", "no bucket or server; tests/workflow/test_dvc_s3.py has one"),
    r"docker build .*": ("", "builds an image of 6 GB"),
    r"cd /(?:share|volume)/reclip": ("", "no such disk"),
    r".* --workflow-profile profiles/kubernetes .*": (
        "",
        "no cluster; tests/storage/test_kubernetes.py answers for one",
    ),
    r"dvc config --global (.*)": (r"dvc config --local \1", "settings of the user"),
}
# These run in this process, where torch is loaded: they read no result of the project.
IN_PROCESS = tuple(
    f"reclip {name}" for name in ("init", "compat", "plan", "predict", "export", "annotations")
)
# The runs of `mini` that the commands need.
RUNS = ("voc-query", "voc-ref", "voc-ref-pe", "voc-add", "voc-distill")

GATHER = '''
import numpy as np
from pathlib import Path
from reclip.common.tables import write_table
from reclip.common.files import read_json, write_json
from reclip.pipeline.receipts import finish


def main(job):
    """Write the run's tracked metrics, or another run's if it has none, and the figures' inputs."""
    path = Path("tracked") / f"{job.id}.json"
    metrics = read_json(path if path.exists() else Path("tracked/voc-ref-pe.json"))
    write_json(job.outputs[0], {**metrics, "job": job.digest, "run": job.id})
    seeds, c = [found["seed"] for found in metrics["seeds"]], len(metrics["classes"])
    confusion, distance = job.folder / "confusion.npy", job.folder / "distance.csv"
    job.folder.mkdir(parents=True, exist_ok=True)
    np.save(confusion, np.tile(1 + np.eye(c, dtype=np.int64), (len(seeds), 1, 1)))
    bins = [(0, 0.5, 9, 60), (0.5, 1, 1, "")]
    header = ("seed", "from", "to", "objects", "miou")
    write_table(distance, header, [(seed, *b) for seed in seeds for b in bins])
    finish(job, [confusion, distance, job.outputs[0]])
'''


def blocks(page: Path, wanted: str) -> list[str]:
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [textwrap.dedent(text) for _, language, text in found if language == wanted]


def commands(page: Path) -> list[str]:
    """Return every command of a page's shell blocks, on one line, without comments."""
    whole = (re.sub(r"\\\n\s*", "", text) for text in blocks(page, "sh"))
    lines = (line for text in whole for line in text.splitlines())
    return [said for line in lines if (said := re.sub(r"(^|\s)#\s.*", "", line).strip())]


def outside_blocks(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def reduced() -> dict:
    """Return `mini` with one dataset and a few runs and tables, without MLflow."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["tracking"] = {"enabled": False}
    params["datasets"] = {"voc": params["datasets"]["voc"]}
    params["runs"] = {run: params["runs"][run] for run in RUNS}
    params["tables"] = {table: params["tables"][table] for table in ("table4", "table5")}
    for table in params["tables"].values():
        for row in table["rows"]:
            row["cells"] = {"voc": row["cells"]["voc"]}
    return params


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make `mini`, reduced, as after `snakemake` and `reclip record`; pages share it."""
    folder = tmp_path_factory.mktemp("docs") / "project"
    project = replace(make_project(folder, reduced()), forked=True)
    (folder / "reclip/stages/gather.py").write_text(GATHER)
    for run in RUNS:
        path = ROOT / f"results/mini/runs/{run}/metrics.json"
        if path.exists():
            write_json(folder / f"tracked/{run}.json", read_json(path))
    shutil.copy(ROOT / ".gitignore", folder)
    for name in ("photos", "new-photos", "val", "DIR", "PHOTOS..."):
        (folder / name).mkdir()
        for photo in ("cat.jpg", "dog.jpg"):
            Image.effect_noise((64, 48), 90).convert("RGB").save(folder / name / photo)
    (folder / "labels").mkdir()
    for name in ("cat", "dog"):
        Image.new("L", (64, 48)).save(folder / f"labels/{name}.png")
    shutil.copy(folder / "photos/cat.jpg", folder / "photo.jpg")
    (folder / "VOCtrainval_11-May-2012.tar").write_bytes(b"an archive")
    project.run("reclip", "dvc")  # dvc.yaml was another experiment's
    project.make_all()
    project.run("reclip", "record")
    project.commit()
    return project


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package a student that was never trained."""
    import torch

    from reclip.config.models import DenoisingSettings, ImageSettings
    from reclip.data.images import palette
    from reclip.data.reading import MEAN_STD
    from reclip.distill.deeplab import DeepLabV2, SegmentationHead, Student
    from reclip.inference.model_info import FORMAT, INFO, WEIGHTS, ModelInfo

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    head = SegmentationHead("query", 3, 8, w_q=torch.eye(3, 8), logit_scale=30)
    Student(DeepLabV2("test_resnet", 8), head).save(folder / WEIGHTS)
    mean, std = MEAN_STD["clip"]
    info = ModelInfo(
        format=FORMAT, kind="student", classes=(("cat",), ("dog",), ("sky",)),
        palette=[palette(3)[3 * k : 3 * k + 3] for k in range(3)], image=ImageSettings(),
        norm="clip", mean=mean, std=std, stride=8, logit_scale=30, denoising=DenoisingSettings(),
        clip=None, sources=(), run="distilled", experiment="photos", seed=0,
        sha256=file_sha256(folder / WEIGHTS), digest="",
    )  # fmt: skip
    write_json(folder / INFO, info.model_dump(mode="json"))
    return folder


def with_model(project: Project, model: Path, text: str) -> str:
    """Put the model where a page has made it; return the text with that folder for any model.

    A file in the results of `mini`, which no stage wrote, would keep `dvc repro` from running.
    """
    place = "results/photos/runs/distilled/model"
    shutil.copytree(model, project.folder / place, dirs_exist_ok=True)
    text = re.sub(r"--run \S+", f"--model {place}", text)
    return re.sub(r"results/mini/runs/[\w-]+/model\b", place, text)


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda page: page.stem)
def test_commands_run(page: Path, project: Project, model: Path, tmp_path: Path) -> None:
    """The commands run in order; settings files are those that the page writes."""
    for path in project.folder.glob("*.yaml"):
        if path.name not in ("params.yaml", "dvc.yaml"):
            path.unlink()
    add_runs(project, page)
    if "reclip record" in commands(page):  # it wants the summary of runs that other pages added
        project.make_all()
    for command in commands(page):
        found = next((p for p in INSTEAD if re.fullmatch(p, command)), None)
        run = re.sub(found, INSTEAD[found][0], command) if found else command
        if run.startswith(IN_PROCESS):
            with contextlib.chdir(project.folder):
                said = reclip(*shlex.split(with_model(project, model, run))[1:])
            assert said.code == 0, (command, said)
            if run.startswith("reclip init"):
                do_not_track(project)
        elif run.startswith("make "):
            _dry_make(run)
        elif run:
            project.run("bash", "-e", "-c", run)
    with contextlib.chdir(project.folder):
        for code in blocks(page, "python"):
            script = tmp_path / "block.py"
            script.write_text(with_model(project, model, code))
            runpy.run_path(str(script), {"reclip": __import__("reclip")})


def add_runs(project: Project, page: Path) -> None:
    """Write the datasets and runs of the page's YAML blocks into params.yaml."""
    params = project.params()
    for text in blocks(page, "yaml"):
        for section, added in yaml.safe_load(text).items():
            if section in params:  # others are a profile's
                params[section] |= added
    if params != project.params():
        project.write_params(params)
        project.run("reclip", "dvc")


def do_not_track(project: Project) -> None:
    """Switch MLflow off: it takes seconds per command, and tests/tracking/ covers it."""
    for path in project.folder.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"^tracking: .*$", "tracking: {enabled: false}", text, flags=re.M))


def _dry_make(command: str) -> None:
    done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stderr)


def test_every_exception_is_used() -> None:
    said = [command for page in PAGES for command in commands(page)]
    unused = [p for p in INSTEAD if not any(re.fullmatch(p, command) for command in said)]
    assert set(unused) <= {r"dvc push", r"reclip restore", r"dvc config --global (.*)"}, unused


def test_paths_of_pytest_exist() -> None:
    added = {"tests/data/layouts/test_camvid.py"}
    found = {
        path
        for page in PAGES
        for command in commands(page)
        if (given := PYTEST.fullmatch(command))
        for path in given[1].split()
    }
    assert found > added
    assert not [path for path in found - added if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "py")], ids=lambda page: page.stem)
def test_code_to_copy_imports_names_that_exist(page: Path) -> None:
    """The page's code is not run, but it compiles, and what it imports of reclip is there."""
    added = {"camvid", "class_frequency"}
    for code in blocks(page, "py"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("reclip."):
                module = importlib.import_module(node.module)
                for name in {alias.name for alias in node.names} - added:
                    if not hasattr(module, name):
                        importlib.import_module(f"{node.module}.{name}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", outside_blocks(page)):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        there = (page.parent / path) if path else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", outside_blocks(page), re.M)
    return {re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in heads}


def options() -> set[str]:
    """Return every option of every command."""

    def of(command) -> Iterator[str]:
        for param in command.params:
            yield from (*param.opts, *param.secondary_opts)
        if isinstance(command, Group):
            for sub in command.commands.values():
                yield from of(sub)

    return {option for option in of(cli) if option.startswith("--")} | {"--help"}


OTHERS_OPTIONS = {"--config", "--cores", "--dry-run", "--unlock", "--resources", "--report",
                  "--local", "--global", "--no-deps", "--profile", "--workflow-profile", "--mem",
                  "--gpus", "--me", "--step", "--default-storage-provider", "--train",
                  "--parts", "--edge", "--pairs", "--photos", "--count"}  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_and_commands_exist(page: Path) -> None:
    known = options() | OTHERS_OPTIONS
    for code in re.findall(r"`([^`\n]+)`", outside_blocks(page)):
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code):
            assert option in known, f"{page.name}: {option}"
        if found := re.match(r"reclip ([a-z][a-z-]*)", code):
            assert found[1] in cli.commands, f"{page.name}: {code}"


SECTIONS = {**DATASET_SECTIONS, **{
    name: field.annotation for name, field in Params.model_fields.items()
    if name in ("compute", "clip", "tracking")
}}  # fmt: skip
SUFFIXES = ("csv", "png", "py", "json", "npy")
SETTING = re.compile(rf"(?:--set )?({'|'.join(SECTIONS)})\.([a-z_]+)(?:[:= ].*)?")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_exist(page: Path) -> None:
    for code in re.findall(r"`([^`\n]+)`", outside_blocks(page)):
        if (found := SETTING.fullmatch(code)) and found[2] not in SUFFIXES:
            assert found[2] in SECTIONS[found[1]].model_fields, f"{page.name}: {code}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_of_the_repository_exist(page: Path) -> None:
    text = outside_blocks(page)
    for path in re.findall(r"`((?:reclip|tests|workflow|docs)/[\w./-]+)`", text):
        if not re.search("camvid|class.areas|class.frequency", path):  # files that the page adds
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_the_page_of_file_formats_names_every_stage_and_column() -> None:
    from reclip.clip import feature_cache
    from reclip.data import folder, index
    from reclip.evaluate import results_table
    from reclip.inference.model_info import ModelInfo
    from reclip.rectify import hypotheses
    from reclip.stages import check

    text = (ROOT / "docs/files.md").read_text(encoding="utf-8")
    for columns in (index.TRAIN_COLUMNS, index.VAL_COLUMNS, folder.LEFT_OUT_COLUMNS,
                    results_table.COLUMNS, check.VERDICT_COLUMNS,
                    hypotheses.COLUMNS, feature_cache.IMAGE_COLUMNS,
                    (*feature_cache.IMAGE_COLUMNS, feature_cache.WINDOW_COLUMN)):  # fmt: skip
        assert f"`{','.join(columns)}`" in text, columns
    for key in (
        *ModelInfo.model_fields,
        *read_json(ROOT / "results/mini/runs/voc-query/metrics.json"),
    ):
        assert f"`{key}`" in text, key
    written = {*STAGES} - {"check", "plot", "tabulate", "summarise", "gather", "distill", "probe"}
    for stage in written:
        assert re.search(rf": {stage}$|\({stage}\)", text, re.M), stage


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for page in tmp_path.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(?:https?:)?//", text), page
