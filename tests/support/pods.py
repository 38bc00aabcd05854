"""A project of stand-ins whose jobs run in pods, by the profile for Kubernetes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from support.kubernetes_api import Cluster
from support.stand_ins import Project

IMAGE = "registry/reclip:1"


@dataclass
class Pods:
    """A project on a volume, and the cluster that mounts it."""

    project: Project
    cluster: Cluster
    kubeconfig: Path

    def snakemake(self, *options: str, check: bool = True) -> str:
        """Run the profile's command, with the volume at the folder that holds the project."""
        plugin = os.pathsep.join([str(self.project.folder), "profiles/kubernetes"])
        settings = {
            "container-image": IMAGE,
            "kubernetes-volume-persistent-volumes": f"reclip:{self.project.folder.parent}",
            "seconds-between-status-checks": "1",
            "latency-wait": "5",
        }
        words = [word for key, value in settings.items() for word in (f"--{key}", value)]
        environment = [f"PYTHONPATH={plugin}", f"KUBECONFIG={self.kubeconfig}"]
        profile = ["--workflow-profile", "profiles/kubernetes"]
        command = ["env", *environment, "snakemake", *options, *profile, *words]
        return self.project.run(*command, check=check)


def image(project: Project) -> dict[str, str]:
    """Return the environment of an image that has the project's commands."""
    return replace(project, forked=True).env
