# Staleness is decided before the DAG is built, by digests (reclip/provenance.py). Snakemake is told by
# times alone: a stale job's plan file is newer than its output; all that is fresh is equally old, so
# that clones, pulls and touched files rerun nothing.
FRESH, OLDER = 1_000_000_000, 0

for _job in PLAN.jobs:
    _job.write_wanted()
    if _job.stale_because() is None:
        os.utime(_job.wanted_file, (OLDER, OLDER))
        for _path in (_job.receipt, *_job.outputs):
            os.utime(_path, (FRESH, FRESH))
    else:
        os.utime(_job.wanted_file)


def needs(stage, kind):
    """Input function: the job's plan file and the receipts of the jobs that it reads."""

    def paths(wildcards):
        job = PLAN.job(stage, getattr(wildcards, kind, PLAN.params.experiment))
        return [
            job.wanted_file.as_posix(),
            *(i.receipt.as_posix() for i in job.inputs.values()),
        ]

    return paths


# Jobs that compute on a GPU run one at a time (profiles/default: gpu=1), or `--resources gpu=N` at once.
GPU = 1 if uses_gpu(PLAN.params.compute) else 0
