"""A person's files among the results survive every rerun; files of earlier settings do not.

RECLIP_SEQUENCES=50 tries more; RECLIP_SEED=17 with one sequence repeats seed 17.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from support.own_files import lost, scatter
from support.staleness_edits import VALUES
from support.stand_ins import SMALL, Project, make_project

SEQUENCES = int(os.environ.get("RECLIP_SEQUENCES", "2"))
SEED = int(os.environ.get("RECLIP_SEED", "0"))
ROUNDS = 2
FEATURES = "results/tiny/features/voc"
DROPPED = "view-1.npy"  # of a view that a later setting drops
SEEDS = {"seeds.rectify": [[0], [0, 1, 2]], "runs.ref-pe.seeds": [[0, 3], [0, 1]]}
CHANGES = VALUES | SEEDS


@pytest.fixture(scope="module")
def start(tmp_path_factory, tiny_params: Callable[..., dict]) -> Project:
    """A project with every result made, under git and DVC."""
    project = make_project(tmp_path_factory.mktemp("start") / "project", tiny_params(SMALL))
    project.make_all()
    return project


@pytest.mark.parametrize("seed", range(SEED, SEED + SEQUENCES))
def test_files_that_no_receipt_names_survive_every_rerun(start, tmp_path, seed) -> None:
    project = start.copy(tmp_path / "project")
    project.forked = True
    rng = random.Random(seed)
    results = project.folder / "results"
    placed = scatter(results, rng)
    for _ in range(ROUNDS):
        others = [key for key in sorted(VALUES) if not key.startswith("datasets")]
        keys = [*rng.sample(others, 3), rng.choice(sorted(SEEDS))]
        for key in keys:
            project.set(key, rng.choice(CHANGES[key]))
        project.run("snakemake")
        assert not lost(placed), keys
        assert "everything is fresh" in project.run("reclip", "status")
        for command in rng.sample(BY_HAND, 4):
            project.run("reclip", *command, "--force")
            assert not lost(placed), command
        placed |= scatter(results, rng)


BY_HAND = [
    ("prepare", "--dataset", "voc"), ("embed-text", "--dataset", "voc"),
    ("cache-features", "--dataset", "voc"), ("hypothesise", "--dataset", "voc"),
    ("rectify", "--run", "ref-pe", "--seed", "0"), ("evaluate", "--run", "query"),
    ("evaluate", "--run", "ref-pe", "--seed", "0"), ("gather", "--run", "ref-pe"),
    ("tabulate", "--table", "table4"), ("plot",), ("summarise",),
]  # fmt: skip


CACHE = ("reclip", "cache-features", "--dataset", "voc")


@pytest.mark.parametrize("how", ["snakemake", "by hand", "after a kill"])
def test_files_of_earlier_settings_are_removed(start, tmp_path, how: str) -> None:
    project = start.copy(tmp_path / "project")
    folder = project.folder / FEATURES
    assert (folder / DROPPED).is_file()
    project.set("views.count", 1)
    if how == "after a kill":  # the receipt is gone, and no new one was written
        stopped = project.folder / "no-computing"
        stopped.touch()
        assert "computes" in project.run(*CACHE, check=False)
        assert not (folder / "receipt.json").exists() and (folder / DROPPED).is_file()
        stopped.unlink()
    if how == "snakemake":
        project.run("snakemake", str((folder / "receipt.json").relative_to(project.folder)))
    else:
        project.run(*CACHE)
    assert sorted(p.name for p in folder.iterdir()) == ["receipt.json", "view-0.npy", "voc.bin"]


def test_the_results_of_a_seed_that_is_taken_away_stay(start, tmp_path) -> None:
    """And so do a person's files beside them: the seed may be added again."""
    project = start.copy(tmp_path / "project")
    folders = [
        project.folder / f"results/tiny/runs/ref-pe/{s}/seed-1" for s in ("rectify", "evaluate")
    ]
    (folders[0] / "mine.onnx").write_text("mine")
    before = {p: p.read_bytes() for folder in folders for p in folder.iterdir()}
    assert len(before) == 6
    project.set("seeds.rectify", [0])
    project.run("snakemake")
    assert not lost(before)


def test_an_output_that_a_person_changed_is_not_removed(start, tmp_path) -> None:
    """E.g. a mask that was corrected by hand, of a photo that the settings leave out now."""
    project = start.copy(tmp_path / "project")
    mine = project.folder / FEATURES / DROPPED
    mine.write_text("corrected by hand\n", encoding="utf-8")
    project.set("views.count", 1)
    project.run(*CACHE)
    assert mine.read_text(encoding="utf-8") == "corrected by hand\n"


def test_a_receipt_cannot_have_a_file_elsewhere_removed(start, tmp_path: Path) -> None:
    """Receipts travel with results: one may name any file, also through a link."""
    from reclip.common.files import file_sha256, read_json, write_json

    project = start.copy(tmp_path / "project")
    folder = project.folder / FEATURES
    outside = tmp_path / "outside"
    outside.mkdir()
    files = [outside / "precious.txt", project.folder / "results/tiny/precious.txt"]
    for path in files:
        path.write_text("precious\n")
    (folder / "link").symlink_to(outside)
    receipt = read_json(folder / "receipt.json")
    for name in ("link/precious.txt", str(files[0]), "../../precious.txt"):
        facts = {"bytes": files[0].stat().st_size, "sha256": file_sha256(files[0])}
        receipt["outputs"][name] = facts
    write_json(folder / "receipt.json", receipt)
    project.set("views.count", 1)
    project.run(*CACHE)
    assert all(path.is_file() for path in files)


@pytest.mark.parametrize(
    "place", ["runs/ref-pe/rectify/seed-0/mine.onnx", "data/voc/labels/mine.png"]
)
def test_dvc_repro_refuses_to_delete_a_person_s_file(start, tmp_path, place: str) -> None:
    """DVC deletes the folder of an output before its stage runs."""
    project = start.copy(tmp_path / "project")
    project.run("reclip", "record")
    mine = project.folder / "results/tiny" / place
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    project.ran()
    project.set("rectify.lr", 0.02)
    said = project.run("dvc", "repro", check=False)
    assert "DVC would delete 1 file that no stage wrote" in said and mine.name in said
    assert mine.is_file() and project.ran() == set()
