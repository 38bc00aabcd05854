"""The settings file as a whole: its sections, datasets, runs, tables and check."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from reclip.config.base import Name, Seeds, Settings
from reclip.config.models import (
    Check,
    ClipSettings,
    ComputeSettings,
    DistillSettings,
    EvaluateSettings,
    HypothesisSettings,
    ImageSettings,
    NamesOfProtocol,
    ProbeSettings,
    PromptSettings,
    PseudoMaskSettings,
    RectifySettings,
    SeedSettings,
    Table,
    TrackingSettings,
    ViewSettings,
)
from reclip.config.sources import Source
from reclip.config.update_recipes import RecipeName

WEIGHTS = {"model", "pretrained", "checkpoint", "cache_dtype"}
"""Settings of `clip` that all datasets of an experiment share."""


class Overrides(Settings):
    """Values that replace those of the sections above, by section."""

    rectify: dict[str, Any] = {}
    pseudo_mask: dict[str, Any] = {}
    distill: dict[str, Any] = {}
    probe: dict[str, Any] = {}
    evaluate: dict[str, Any] = {}


class DatasetSettings(Overrides):
    """A dataset: its source, and overrides for all its runs.

    of: instead of a source, another dataset: the same photos and labels, read in another way. Its
        overrides of trainings and evaluations hold here, too.
    names: class names of a published protocol for the prompts
        (`reclip.data.layouts.protocol_names`); None: the dataset's own.
    """

    source: Source | None = Field(None, discriminator="kind")
    of: str | None = None
    names: NamesOfProtocol | None = None
    clip: dict[str, Any] = {}
    image: dict[str, Any] = {}
    prompts: dict[str, Any] = {}
    views: dict[str, Any] = {}
    hypotheses: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_origin(self) -> DatasetSettings:
        if (self.source is None) == (self.of is None):
            raise ValueError("give `source`, or `of` with the name of another dataset")
        if self.of and self.hypotheses:
            raise ValueError(
                f"all readings of the same photos share their hypotheses: set `hypotheses` of "
                f"dataset '{self.of}'"
            )
        if weights := sorted(WEIGHTS & self.clip.keys()):
            raise ValueError(
                f"`clip.{weights[0]}` is the same for all datasets of an experiment: set it in the "
                f"section `clip`"
            )
        return self


class RunSettings(Overrides):
    """A row of a table: a dataset, a method, and overrides."""

    dataset: str
    method: Literal["query", "rectify", "distill", "probe"]
    teacher: str | None = None  # distill: the run whose masks teach
    student: str | None = None  # probe: the run whose features are probed
    seeds: Seeds | None = None


class Params(Settings):
    """The settings file."""

    experiment: Name
    # Whose values hold where the file says nothing; None: the package's defaults.
    compat: Literal["paper", "official"] | None = None
    # The updates of rectification: its batch and rate, where the file gives neither.
    recipe: RecipeName | None = None
    downloads: str = "downloads"  # folder of official archives; missing ones are downloaded to it
    compute: ComputeSettings = ComputeSettings()
    clip: ClipSettings
    image: ImageSettings = ImageSettings()
    prompts: PromptSettings = PromptSettings()
    views: ViewSettings = ViewSettings()
    hypotheses: HypothesisSettings = HypothesisSettings()
    rectify: RectifySettings = RectifySettings()
    pseudo_mask: PseudoMaskSettings = PseudoMaskSettings()
    distill: DistillSettings = DistillSettings()
    probe: ProbeSettings = ProbeSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    tracking: TrackingSettings = TrackingSettings()
    seeds: SeedSettings = SeedSettings()
    datasets: dict[Name, DatasetSettings]
    runs: dict[Name, RunSettings]
    tables: dict[Name, Table] = {}
    check: Check | None = None


RUN_SECTIONS = tuple(Overrides.model_fields)
"""Sections that a run may override."""

DATASET_SECTIONS: dict[str, type[Settings]] = {
    name: Params.model_fields[name].annotation
    for name in DatasetSettings.model_fields
    if name not in ("source", "of", "names")
}
"""Sections that a dataset may override for all its runs."""
