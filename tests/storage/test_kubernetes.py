"""The profile for Kubernetes: the pods that the real plugins ask for, and what happens to them.

The API is answered on this machine and pods are processes (kubernetes_api.py); no cluster is used.
"""

from __future__ import annotations

from support.pods import IMAGE, Pods

RECTIFY = "results/tiny/runs/ref-pe/rectify/seed-0/receipt.json"
FEATURES = "results/tiny/features/voc/receipt.json"


def lose(pods: Pods, *receipts: str) -> None:
    for receipt in receipts:
        (pods.project.folder / receipt).unlink()


def container(manifest: dict) -> dict:
    (found,) = manifest["spec"]["template"]["spec"]["containers"]
    return found


def test_a_job_is_a_pod_with_image_volume_and_limits(pods):
    before = pods.project.bytes()
    lose(pods, FEATURES, RECTIFY)
    pods.snakemake(
        RECTIFY, "--set-resources", "rectify:gpu=2", "rectify:mem_mb=9000", "rectify:runtime=90"
    )
    assert pods.project.ran() == {"cache-features voc", "rectify ref-pe seed 0"}
    assert pods.project.bytes() == before
    assert pods.project.planned() == set()

    features, rectify = pods.cluster.manifests
    assert container(features)["resources"]["limits"]["nvidia.com/gpu"] == "0"
    pod, found = rectify["spec"]["template"]["spec"], container(rectify)
    assert found["image"] == IMAGE
    assert found["resources"]["limits"] == {
        "cpu": "1000m",
        "memory": "9000M",
        "nvidia.com/gpu": "2",
        "ephemeral-storage": "4000M",
    }
    assert [toleration["key"] for toleration in pod["tolerations"]] == ["nvidia.com/gpu"]
    claims = {v["name"]: v.get("persistentVolumeClaim") for v in pod["volumes"]}
    assert claims["reclip"] == {"claimName": "reclip"}
    paths = {mount["name"]: mount["mountPath"] for mount in found["volumeMounts"]}
    assert paths["reclip"] == str(pods.project.folder.parent)
    shell, command = found["args"]
    assert (found["command"], shell) == (["/bin/sh"], "-c")
    limited = f"cd {pods.project.folder} && timeout --kill-after=60 90m sh -c 'python -m snakemake "
    assert command.startswith(limited)
    assert "pip install" not in command  # the image has all packages
    assert (rectify["spec"]["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    assert pods.cluster.jobs == {}  # Snakemake deletes them
    assert pods.cluster.secrets == {}


def test_a_pod_that_is_killed_for_its_memory_is_tried_again_with_more(pods):
    lose(pods, RECTIFY)
    pods.cluster.needs = 6000
    pods.snakemake(RECTIFY, "--set-resources", "rectify:mem_mb=4000*attempt")
    limits = [container(m)["resources"]["limits"]["memory"] for m in pods.cluster.manifests]
    assert limits == ["4000M", "8000M"]
    assert pods.project.ran() == {"rectify ref-pe seed 0"}
    (log,) = (pods.project.folder / ".snakemake/auxiliary/kubernetes-logs").iterdir()
    assert log.read_text(encoding="utf-8").strip() == "Killed"


def test_the_published_plugin_alone_demands_a_bucket(pods):
    """The reason for a plugin of our own; once this fails, it may go."""
    said = pods.project.run("snakemake", "--executor", "kubernetes", "--jobs", "1", check=False)
    assert "default storage provider (--default-storage-provider)" in said
