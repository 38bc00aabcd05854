# What all rules share. Staleness is decided by digests before Snakemake builds its graph
# (reclip/pipeline/receipts.py). Snakemake learns of it through file times (reclip/pipeline/staleness.py).
import sys

from reclip.cli import fork_server
from reclip.clip.shards import ShardFolder, Share
from reclip.common.children import WARM
from reclip.pipeline.job import seed_of
from reclip.pipeline.receipts import warnings, why_stale
from reclip.pipeline.staleness import settle
from reclip.pipeline.stages import STAGES

try:
    STALE = settle(PLAN)
except ReclipError as error:
    raise WorkflowError(str(error)) from None

# Stale jobs of a plain `snakemake` are its targets, also where only fresh jobs read them.
STALE_BY_DEFAULT = [job.receipt.as_posix() for job in PLAN.default_jobs if job in STALE]

# A long run starts its jobs as forks of a process that has imported torch already, which saves
# seconds a job. RECLIP_WARM=1 does so for any run, RECLIP_WARM= (empty) for none.
if os.environ.get(WARM, len(STALE) > 20):
    os.environ[WARM] = str(os.getpid())

    onstart:
        if workflow.local_exec:
            fork_server.start()
        else:  # jobs on other machines inherit the variable
            os.environ[WARM] = ""


def job_of(stage, wildcards):
    """Return the job of a stage's rule with these wildcards."""
    id = getattr(wildcards, STAGES[stage].names, PLAN.params.experiment)
    seed = getattr(wildcards, "seed", None)
    return PLAN.job(stage, id, seed and seed_of(seed))


def needs(stage):
    """Input function: the job's plan file and the receipts of its inputs.

    The inputs of a fresh job are `ancient`: their times do not matter. It names no stale input. Such
    an input was lost after the job ran, and naming it would run both again. A stale table and the
    check also wait for lost jobs further back, because they show their warnings.
    """

    def paths(wildcards):
        job = job_of(stage, wildcards)
        if job in STALE:
            read = list(job.inputs.values())
            if stage in ("tabulate", "check"):
                read += [
                    i for i in job.with_all_before[1:] if i in STALE and i not in read
                ]
            return [job.plan_file.as_posix(), *(i.receipt.as_posix() for i in read)]
        fresh = [i.receipt for i in job.inputs.values() if i not in STALE]
        return [ancient(path.as_posix()) for path in (job.plan_file, *fresh)]

    return paths


# Jobs that make a dataset's features side by side, before `cache_features` completes them.
SHARES = PLAN.params.compute.feature_jobs


def share_markers(wildcards):
    """Input function: the markers of the shares of a stale cache; none if one job makes it all."""
    job = PLAN.job("cache-features", wildcards.dataset)
    if SHARES == 1 or job not in STALE:
        return []
    folder = ShardFolder(job.folder, job.digest)
    shares = (Share(number + 1, SHARES) for number in range(SHARES))
    return [folder.share_marker(share).as_posix() for share in shares]


def command(stage):
    """Params function: the `reclip` command of a stage's rule, with the rule's wildcards.

    Snakemake would expand braces in a string, such as those in the name of the settings file.
    """
    return lambda wildcards: f"{RECLIP} {stage}{job_of(stage, wildcards).options}"


def end():
    """Log the run to MLflow if that is done at the end, and show the warnings of fresh results."""
    if LOGS_AT_END:
        shell(literal(f"{RECLIP} sync-mlflow"))
    fresh = [job for job in PLAN.jobs if not why_stale(job)]
    for said in dict.fromkeys(said for job in fresh for said in warnings(job)):
        print(f"warning: {said}", file=sys.stderr)
