"""The one table of stages: commands, Snakemake rules, `dvc.yaml` and the cost report follow it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

    Attributes:
        name: of the command, the rule and the DVC stage.
        kind: what its jobs are for: a "dataset", "seed" (of a run), "run", "table" or "experiment".
        help: one sentence for `reclip --help`.
        trains: whether its jobs train, on one GPU or several.
    """

    name: str
    kind: str
    help: str
    trains: bool = False

    @property
    def names(self) -> str:
        """What the id of its jobs names: the jobs of a run's seeds have the run's id."""
        return "run" if self.kind == "seed" else self.kind

    @property
    def module(self) -> str:
        """The module whose `main(job)` runs the stage."""
        return f"reclip.stages.{self.name.replace('-', '_')}"


_ORDERED = (
    Stage("fetch", "dataset", "Get a dataset's archive, check and unpack it."),
    Stage("prepare", "dataset", "Index a dataset: photos, class names, label maps."),
    Stage("embed-text", "dataset", "Embed the Query texts of a dataset's classes."),
    Stage("cache-features", "dataset", "Compute and cache CLIP's dense features."),
    Stage("hypothesise", "dataset", "Guess which classes each image may hold."),
    Stage("rectify", "seed", "Learn the bias of CLIP, without labels.", trains=True),
    Stage("pseudo-mask", "seed", "Write a teacher's masks of the training images."),
    Stage("distill", "seed", "Train a DeepLabV2 student on those masks.", trains=True),
    Stage(
        "probe", "seed", "Train a linear classifier on a student's frozen features.", trains=True
    ),
    Stage("evaluate", "seed", "Measure a run's seed on the val split."),
    Stage("gather", "run", "Gather the evaluations of a run's seeds: mean and spread."),
    Stage("package", "run", "Write a trained model and its model card."),
    Stage("tabulate", "table", "Write one of the tables."),
    Stage("plot", "experiment", "Draw the figures."),
    Stage("check", "experiment", "Compare the rows of all tables over more seeds."),
    Stage("summarise", "experiment", "Summarise the results on unlabelled photos, with advice."),
)  # fmt: skip

STAGES: dict[str, Stage] = {stage.name: stage for stage in _ORDERED}
"""By name, in the order of the pipeline: a stage reads only from those before it."""

RULES = frozenset(
    {
        "all",
        "stage",
        "mini_clip",
        "mini_backbone",
        "share_features",
        *(name.replace("-", "_") for name in STAGES),
    }
)
"""Names of Snakemake's rules. A table is a rule as well (`snakemake table4`), so it has another."""
