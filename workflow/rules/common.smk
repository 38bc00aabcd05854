# Staleness is decided before the DAG is built, by digests (reclip/pipeline/receipts.py), and Snakemake is told
# through the times of files (reclip/pipeline/staleness.py).
from reclip.cli import fork_server
from reclip.pipeline.staleness import made_by_default, settle

try:
    STALE = settle(PLAN)
except ReclipError as error:
    raise WorkflowError(str(error)) from None

# What a plain `snakemake` makes again. A job of these that only fresh jobs read is asked for by name.
STALE_BY_DEFAULT = [
    job.receipt.as_posix() for job in made_by_default(PLAN) if job in STALE
]

# A long run's jobs start at once, in forks of a process that has imported what takes seconds to import;
# those of any run with RECLIP_WARM=1, of none with RECLIP_WARM= (nothing).
if os.environ.get(fork_server.RUN, len(STALE) > 20):
    os.environ[fork_server.RUN] = str(os.getpid())

    onstart:
        fork_server.start()


def needs(stage, kind):
    """Input function: the job's plan file and the receipts of the jobs that it reads.

    A fresh job does not name a stale one: it was made from what that one made under the same digest,
    an output that is lost now and is made again, and Snakemake would make both again.
    """

    def paths(wildcards):
        job = PLAN.job(stage, getattr(wildcards, kind, PLAN.params.experiment))
        read = [i for i in job.inputs.values() if job in STALE or i not in STALE]
        return [job.wanted_file.as_posix(), *(i.receipt.as_posix() for i in read)]

    return paths


# Jobs that compute on a GPU run one at a time (profiles/default: gpu=1), or `--resources gpu=N` at once.
GPU = 1 if uses_gpu(PLAN.params.compute) else 0
