# What each job asks for. A scheduler needs all of it, Snakemake on this machine only the GPUs and threads:
# so the rest is computed where a profile has a default for memory, or someone limits it (docs/machines.md).
import subprocess

from snakemake_interface_executor_plugins.settings import ExecMode

from reclip.cost import resources as asked

DEFAULTS = workflow.resource_settings.default_resources or {}
ON_NODE = (
    workflow.exec_mode != ExecMode.DEFAULT
)  # in a job that an executor has started
STATED = not ON_NODE and ("mem_mb" in DEFAULTS or "mem_mb" in workflow.global_resources)

# The other machine that jobs run on, from a profile: `default-resources: {machine: a100}`.
MACHINE = None
if "machine" in DEFAULTS:
    MACHINE = str(DEFAULTS["machine"].raw)  # as it was written
    try:
        asked.require_machine(MACHINE)
    except ReclipError as error:
        raise WorkflowError(f"default-resources: machine: {error}") from None


def costs():
    """Return the costs of all jobs; another process computes them, as this one lives long."""
    global COSTS
    if COSTS is None:
        COSTS = asked.costs(PLAN)
    if COSTS is None:
        print("computing what the jobs need (some seconds, once)", file=sys.stderr)
        call = [sys.executable, "-m", "reclip", "plan", "--resources"]
        env = {**os.environ, "RECLIP_PARAMS": SETTINGS}
        env.pop(WARM, None)
        done = subprocess.run(call, env=env, capture_output=True, text=True)
        COSTS = asked.costs(PLAN)
        if done.returncode or COSTS is None:
            raise WorkflowError(
                f"Cannot compute what the jobs need: {done.stderr.strip()}"
            )
    return COSTS


COSTS = None


def stage_of(rulename):
    """Return the stage of a rule; a share of the features asks for what all of them need."""
    return {"share_features": "cache-features"}.get(
        rulename, rulename.replace("_", "-")
    )


def asked_for(wildcards, rulename):
    """Return what a job asks for; see reclip/cost/resources.py."""
    job = job_of(stage_of(rulename), wildcards)
    return asked.resources(PLAN, job, costs(), MACHINE)


def mem_mb(wildcards, attempt, rulename):
    """Resources function: megabytes of memory, more with every attempt."""
    return attempt * asked_for(wildcards, rulename).mem_mb


def runtime(wildcards, attempt, rulename):
    """Resources function: minutes, more with every attempt; a training resumes."""
    return attempt * asked_for(wildcards, rulename).runtime


def gpu_memory_mb(wildcards, rulename):
    """Resources function: megabytes of the GPU's memory, for the user: no executor reads it."""
    return asked_for(wildcards, rulename).gpu_memory_mb or None


def gpus(wildcards, rulename):
    """Resources function: the GPUs of a job; None for none, which some executors want to hear."""
    job = job_of(stage_of(rulename), wildcards)
    if (
        MACHINE is None
        and workflow.executor_plugin
        and workflow.non_local_exec
        and not ON_NODE
        and PLAN.params.compute.device == "auto"
    ):
        raise WorkflowError(
            "jobs run on other machines, and compute.device is auto: say which machines, such as "
            "`--default-resources machine=a100` or `machine=cpu`, or set compute.device"
        )
    return asked.gpus(job, MACHINE) or None


def threads_of(wildcards, rulename):
    """Threads function: those that compute and those that read ahead."""
    return asked.threads(PLAN, stage_of(rulename))


RESOURCES = {"gpu": gpus}
if STATED:
    RESOURCES |= {"mem_mb": mem_mb, "runtime": runtime, "gpu_memory_mb": gpu_memory_mb}
