"""The jobs from a data set's source to what is trained in it: `fetch` to `probe`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reclip.common.errors import ReclipError
from reclip.config.load import nearest
from reclip.config.models import Params
from reclip.config.resolve import Experiment
from reclip.pipeline.job import STAGES, Job
from reclip.pipeline.own_files import digests_of_folders, given_files
from reclip.weights.identity import backbone_sha256, checkpoint_sha256

# Kinds of sources of which nothing is fetched: drawn, or used where they are.
IN_PLACE = ("world", "folder")


class TrainingJobs(Experiment):
    """The jobs of every stage up to a trained model.

    Paths are relative to the project's folder, where all commands run.
    """

    def __init__(self, params: Params):
        super().__init__(params)
        self.root = Path("results") / params.experiment
        self._jobs: dict[tuple[str, str], Job] = {}

    def job(self, stage: str, id: str) -> Job:
        """The job of `stage` on data set, run, table or experiment `id`.

        Raises ReclipError if there is no such thing.
        """
        if (stage, id) not in self._jobs:
            known = self.ids(stage)
            if id not in known:
                raise ReclipError(f"no {STAGES[stage][1]} '{id}' for {stage}{nearest(id, known)}")
            make = getattr(self, "_" + stage.replace("-", "_"))
            self._jobs[stage, id] = make(id)
        return self._jobs[stage, id]

    def ids(self, stage: str) -> list[str]:
        """What `stage` can be asked for."""
        params = self.params
        if stage == "fetch":
            return [d for d in params.datasets if self._source(d).kind not in IN_PLACE]
        if STAGES[stage][1] == "dataset":
            return list(params.datasets)
        if stage == "pseudo-mask":
            return [run for run in params.runs if self.taught_seeds(run) is not None]
        return [run for run, settings in params.runs.items() if settings.method == stage]

    def _make(self, stage: str, id: str, folder: Path, settings: dict, **more: Any) -> Job:
        return Job(stage, id, self.root / folder, self.root / "plan", settings, **more)

    def _clip(self) -> dict[str, Any]:
        return {"clip": self.clip, "weights": checkpoint_sha256(self.clip)}

    def _fetch(self, dataset: str) -> Job:
        source = self.params.datasets[dataset].source
        source = source.model_copy(update={"limit": None})  # what is unpacked does not depend on it
        return self._make(
            "fetch",
            dataset,
            Path("raw") / dataset,
            {"source": source, "given": given_files(source)},
            # Where the archives lie says nothing of what is in them: no part of the digest.
            surroundings={"downloads": self.params.downloads},
        )

    def _prepare(self, dataset: str) -> Job:
        source = self._source(dataset)
        settings: dict[str, Any] = {"source": source}
        if source.kind == "folder":
            settings["photos"] = digests_of_folders(source)
        inputs = {} if source.kind in IN_PLACE else {"raw": self.job("fetch", dataset)}
        return self._make(
            "prepare",
            dataset,
            Path("data") / dataset,
            settings,
            inputs=inputs,
            surroundings={"loaders": self.params.compute.loaders},
        )

    def _embed_text(self, dataset: str) -> Job:
        return self._make(
            "embed-text",
            dataset,
            Path("text") / dataset,
            {
                **self._clip(),
                "prompts": self.section(dataset, "prompts"),
                "compute": self.params.compute,
            },
            inputs={"data": self.job("prepare", dataset)},
        )

    def _cache_features(self, dataset: str) -> Job:
        settings = {
            **self._clip(),
            "image": self.section(dataset, "image"),
            "views": self.section(dataset, "views"),
            "hypothesis_image": self.section(dataset, "hypotheses").image,
            "compute": self.params.compute,
        }
        return self._make(
            "cache-features",
            dataset,
            Path("features") / dataset,
            settings,
            inputs={"data": self.job("prepare", dataset)},
        )

    def _hypothesise(self, dataset: str) -> Job:
        return self._make(
            "hypothesise",
            dataset,
            Path("hypotheses") / dataset,
            {"hypotheses": self.section(dataset, "hypotheses")},
            inputs={
                "features": self.job("cache-features", dataset),
                "text": self.job("embed-text", dataset),
            },
        )

    def _rectify(self, run: str) -> Job:
        dataset = self.params.runs[run].dataset
        return self._make(
            "rectify",
            run,
            Path("runs") / run / "rectify",
            {
                **self._clip(),
                "rectify": self.rectify(run),
                "seeds": self.seeds(run),
                "compute": self.params.compute,
            },
            inputs={
                "data": self.job("prepare", dataset),
                "features": self.job("cache-features", dataset),
                "text": self.job("embed-text", dataset),
                "hypotheses": self.job("hypothesise", dataset),
            },
        )

    def _teacher(self, run: str) -> Job:
        """The job that holds the teacher's weights: its rectification, or the Query text alone."""
        settings = self.params.runs[run]
        if settings.method == "query":
            return self.job("embed-text", settings.dataset)
        return self.job("rectify", run)

    def _pseudo_mask(self, run: str) -> Job:
        dataset = self.params.runs[run].dataset
        return self._make(
            "pseudo-mask",
            run,
            Path("runs") / run / "pseudo-mask",
            {
                "pseudo_mask": self.run_section(run, "pseudo_mask"),
                "seeds": self.taught_seeds(run),
                "compute": self.params.compute,
            },
            inputs={
                "data": self.job("prepare", dataset),
                "features": self.job("cache-features", dataset),
                "teacher": self._teacher(run),
            },
        )

    def _distill(self, run: str) -> Job:
        settings = self.params.runs[run]
        dataset = settings.dataset
        sha256 = backbone_sha256(self.distill(run))
        backbone = {"weights": sha256} if sha256 else {}
        return self._make(
            "distill",
            run,
            Path("runs") / run / "distill",
            {
                "distill": self.distill(run),
                **backbone,
                "seeds": self.seeds(run),
                "seeded_teacher": self.params.runs[settings.teacher].method == "rectify",
                "compute": self.params.compute,
            },
            inputs={
                "data": self.job("prepare", dataset),
                "features": self.job("cache-features", dataset),
                "hypotheses": self.job("hypothesise", dataset),
                "masks": self.job("pseudo-mask", settings.teacher),
                "teacher": self._teacher(settings.teacher),
            },
        )

    def _probe(self, run: str) -> Job:
        settings = self.params.runs[run]
        return self._make(
            "probe",
            run,
            Path("runs") / run / "probe",
            {
                "probe": self.run_section(run, "probe"),
                "seeds": self.seeds(run),
                "compute": self.params.compute,
            },
            inputs={
                "data": self.job("prepare", settings.dataset),
                "features": self.job("cache-features", settings.dataset),
                "student": self.job("distill", settings.student),
            },
        )
