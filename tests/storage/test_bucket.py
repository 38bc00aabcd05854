"""Why results reach a bucket through DVC and not through Snakemake's storage plugin."""

from __future__ import annotations

from support.s3 import KEY, SECRET, buckets, hide_account


def test_snakemake_looks_for_plan_files_in_its_bucket(made, tmp_path, monkeypatch):
    """Plan files are written where the Snakefile is read, and rules name no other file of a job.

    Once this fails, docs/storage.md may say more.
    """
    hide_account(monkeypatch, tmp_path / "empty")
    for name, value in {"ACCESS_KEY": KEY, "SECRET_KEY": SECRET, "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"SNAKEMAKE_STORAGE_S3_{name}", value)
    project = made.copy(tmp_path / "project")
    assert project.planned() == set()
    with buckets("results") as url:
        bucket = {"provider": "s3", "prefix": "s3://results/reclip"}
        options = [w for key, value in bucket.items() for w in (f"--default-storage-{key}", value)]
        said = project.run(
            "snakemake", "-n", *options, "--storage-s3-endpoint-url", url, check=False
        )
    assert "Missing input files for rule prepare" in said
    assert "s3://results/reclip/results/tiny/plan/prepare/voc.json (in storage)" in said
