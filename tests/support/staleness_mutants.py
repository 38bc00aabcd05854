"""Wrong rules of staleness, to be put into a project's copy of the package: all must be caught."""

from __future__ import annotations

from pathlib import Path

# module -> code that is appended to it
DVC_WRAPS_SNAKEMAKE = {
    "reclip/versioning/dvc_yaml.py": '''

def _stages(plan, jobs):
    """One, which DVC runs whenever a setting or module has changed, and which makes all."""
    unseen = ignored([path for job in jobs for path in job.declared])
    shared = [job for job in jobs if STAGES[job.stage].kind in ("table", "experiment")]
    outs = [job.folder.as_posix() for job in jobs if job not in shared]
    for path in (path for job in jobs for path in (job.declared if job in shared else job.outputs)):
        outs.append({path.as_posix(): {"cache": path in unseen}})
    snakemake = {"cmd": "snakemake", "deps": [plan.file, "reclip"], "outs": outs}
    return {"plan": {"cmd": "true"}, "snakemake": snakemake}
''',
    "reclip/versioning/record.py": """

def named(jobs):
    return {"snakemake": jobs[0]} if jobs else {}
""",
}
CODE_IGNORED = {
    "reclip/pipeline/code_digest.py": """

def modules_used(module):
    return {}
""",
}
# As make does, with the times of files as they are.
TIMES_TRUSTED = {
    "reclip/pipeline/receipts.py": """

def why_stale(job):
    if not job.receipt.is_file():
        return "not made yet"
    source = Path(job.module.replace(".", "/")).with_suffix(".py")
    read = [Path("params.yaml"), source, *(other.receipt for other in job.inputs.values())]
    times = [path.stat().st_mtime_ns for path in read if path.is_file()]
    return "older than its inputs" if max(times) > job.receipt.stat().st_mtime_ns else None
""",
}
LOST_OUTPUTS_IGNORED = {
    "reclip/pipeline/receipts.py": """

def lost_outputs(receipt, folder):
    return None
""",
}
SEED_LEFT_OUT = {
    "reclip/pipeline/job.py": """

def _without_seed(job, wanted=Job.wanted.func):
    content = {key: value for key, value in wanted(job).items() if key not in ("seed", "digest")}
    digest = text_sha256(canonical_json(content))
    return {**content, "seed": job.seed, "digest": digest}


Job.wanted = cached_property(_without_seed)
Job.wanted.__set_name__(Job, "wanted")
""",
}
REMOVED_SEED_IGNORED = {
    "reclip/pipeline/receipts.py": """

def why_stale(job, why_stale=why_stale):
    was = (read_receipt(job.receipt) or {}).get("inputs", {})
    if job.stage == "gather" and all(was.get(r) == i.digest for r, i in job.inputs.items()):
        return None
    return why_stale(job)
""",
}
PLAN_FILE_OF_ANOTHER_SEED = {
    "reclip/pipeline/job.py": """

Job.plan_file = property(lambda job: job.plan_folder / job.stage / f"{job.id}.json")
""",
}
MUTANTS = {
    "DVC wraps Snakemake": DVC_WRAPS_SNAKEMAKE,
    "code is ignored": CODE_IGNORED,
    "times are trusted": TIMES_TRUSTED,
    "lost outputs are ignored": LOST_OUTPUTS_IGNORED,
    "the seed is left out of the digest": SEED_LEFT_OUT,
    "a gather ignores that a seed was removed": REMOVED_SEED_IGNORED,
    "a seed has the plan file of another": PLAN_FILE_OF_ANOTHER_SEED,
}


def mutate(folder: Path, name: str) -> None:
    for path, code in MUTANTS[name].items():
        with open(folder / path, "a", encoding="utf-8") as stream:
            stream.write(code)
