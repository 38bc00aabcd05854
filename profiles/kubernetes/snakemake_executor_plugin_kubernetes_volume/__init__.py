"""Run Snakemake's jobs as pods of Kubernetes that mount the project's folder from a shared volume.

The published plugin `kubernetes` makes the pods and watches them. It declares that pods share no
files, so Snakemake demands a bucket and copies the inputs and outputs of rules through it. The
rules of this project name receipts only, and the stages read and write the files beside them
(docs/storage.md). So this plugin declares a shared file system. It also changes three things:

- A job starts in the project's folder, which the volume has at the same path everywhere.
- The resource `runtime` (minutes) limits a job. The published plugin ignores it.
- The log of a failed pod is that of its only container. The published plugin asks for the container
  before it. Kubernetes refuses this, and the refusal would end the run instead of retrying the job.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import replace

import snakemake_executor_plugin_kubernetes as published

GRACE_SECONDS = 60  # to write a checkpoint

ExecutorSettings = published.ExecutorSettings

common_settings = replace(
    published.common_settings,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    auto_deploy_default_storage_provider=False,
)


class Executor(published.Executor):
    """The published executor, for pods that share a file system."""

    def format_job_exec(self, job) -> str:
        """Return the shell command of a job's pod."""
        command = super().format_job_exec(job)
        if minutes := job.resources.get("runtime"):
            limit = f"timeout --kill-after={GRACE_SECONDS} {int(minutes)}m"
            command = f"{limit} sh -c {shlex.quote(command)}"
        return f"cd {shlex.quote(os.getcwd())} && {command}"

    @property
    def kubeapi(self):
        """The core API; the published plugin sets it again after each login."""
        return self._kubeapi

    @kubeapi.setter
    def kubeapi(self, api) -> None:
        read = api.read_namespaced_pod_log
        api.read_namespaced_pod_log = lambda *, previous, **pod: read(**pod)
        self._kubeapi = api
