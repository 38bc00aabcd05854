# Two input functions for every rule. A job's inputs are the receipts of the jobs it reads from, whose
# times do not count, and its own plan file, which looks new if and only if the output is stale.


def upstream(stage, kind):
    """Receipts of the jobs that this one reads."""

    def paths(wildcards):
        job = PLAN.job(stage, getattr(wildcards, kind, PLAN.params.experiment))
        return [ancient(other.receipt.as_posix()) for other in job.inputs.values()]

    return paths


def wanted(stage, kind):
    """The job's plan file, touched as its staleness says."""

    def path(wildcards):
        job = PLAN.job(stage, getattr(wildcards, kind, PLAN.params.experiment))
        job.write_wanted()
        fresh = job.stale_because() is None
        os.utime(job.wanted_file, (0, 0) if fresh else None)
        return job.wanted_file.as_posix()

    return path
