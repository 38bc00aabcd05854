# Text and image features of the frozen CLIP, computed once.


use rule stage as embed_text with:
    input:
        needs("embed-text"),
    output:
        f"{RESULTS}/text/{{dataset}}/receipt.json",
    log:
        f"{LOGS}/embed-text/{{dataset}}.log",
    params:
        command=command("embed-text"),


# With compute.feature_jobs above 1: jobs that make a dataset's features side by side.
use rule stage as share_features with:
    input:
        needs("cache-features"),
    output:
        f"{RESULTS}/features/{{dataset}}/shards-{{digest}}/.share-{{share}}-of-{{shares}}.checkpoint",
    log:
        f"{LOGS}/cache-features/{{dataset}}-{{digest}}-{{share}}-of-{{shares}}.log",
    wildcard_constraints:
        digest="[0-9a-f]{16}",
        share=r"\d+",
        shares=r"\d+",
    params:
        command=lambda w: f"{RECLIP} cache-features --dataset {w.dataset} --share {w.share}/{w.shares}",


use rule stage as cache_features with:
    input:
        needs("cache-features"),
        share_markers,
    output:
        f"{RESULTS}/features/{{dataset}}/receipt.json",
    log:
        f"{LOGS}/cache-features/{{dataset}}.log",
    params:
        command=command("cache-features"),


use rule stage as hypothesise with:
    input:
        needs("hypothesise"),
    output:
        f"{RESULTS}/hypotheses/{{dataset}}/receipt.json",
    log:
        f"{LOGS}/hypothesise/{{dataset}}.log",
    params:
        command=command("hypothesise"),


use rule stage as mini_clip with:
    output:
        weights=f"{RESULTS}/mini-clip/mini-clip.safetensors",
        card=f"{RESULTS}/mini-clip/mini-clip.json",
    log:
        f"{LOGS}/mini-clip.log",
    threads: 1
    resources:
        mem_mb=2000,
        runtime=600,
    params:
        command=lambda _: f"{RECLIP} pretrain --output {RESULTS}/mini-clip",
