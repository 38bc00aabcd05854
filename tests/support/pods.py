"""A project of stand-ins whose jobs run in pods, by the profile for Kubernetes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from reclip.pipeline.stages import STAGES
from support.kubernetes_api import Cluster
from support.stand_ins import Project

IMAGE = "registry/reclip:1"
NEED = {
    f"{stage.replace('-', '_')}:{name}": value
    for stage in STAGES
    for name, value in {"mem_mb": 4000, "runtime": 30, "gpu_memory_mb": 0}.items()
}
"""Resources of stand-ins."""


@dataclass
class Pods:
    """A project on a volume, and the cluster that mounts it."""

    project: Project
    cluster: Cluster
    kubeconfig: Path

    def snakemake(self, *options: str, resources: dict[str, object] | None = NEED) -> str:
        """Run the profile's command, with the volume at the folder that holds the project.

        resources: of the jobs, as `rectify:gpu`; by default and besides what stand-ins need. With
            None, what jobs need is computed from the photos, which stand-ins do not write.
        """
        plugin = os.pathsep.join([str(self.project.folder), "profiles/kubernetes"])
        settings = {
            "container-image": IMAGE,
            "kubernetes-volume-persistent-volumes": f"reclip:{self.project.folder.parent}",
            "seconds-between-status-checks": "1",
            "latency-wait": "5",
        }
        asked = None if resources is None else NEED | resources
        words = [word for key, value in settings.items() for word in (f"--{key}", value)]
        environment = [f"PYTHONPATH={plugin}", f"KUBECONFIG={self.kubeconfig}"]
        profile = ["--workflow-profile", "profiles/kubernetes"]
        stated = [f"{name}={value}" for name, value in (asked or {}).items()]
        option = ["--set-resources"] * bool(stated) + stated
        return self.project.run(
            "env", *environment, "snakemake", *options, *profile, *words, *option
        )


def image(project: Project) -> dict[str, str]:
    """Return the environment of an image that has the project's commands."""
    return replace(project, forked=True).env
