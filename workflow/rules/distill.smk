# The DeepLabV2 student and the linear probe on it.


use rule stage as distill with:
    input:
        needs("distill"),
    output:
        f"{RESULTS}/runs/{{run}}/distill/{{seed}}/receipt.json",
    log:
        f"{LOGS}/distill/{{run}}/{{seed}}.log",
    params:
        command=command("distill"),


use rule stage as probe with:
    input:
        needs("probe"),
    output:
        f"{RESULTS}/runs/{{run}}/probe/{{seed}}/receipt.json",
    log:
        f"{LOGS}/probe/{{run}}/{{seed}}.log",
    params:
        command=command("probe"),


# The backbone that the students of drawn worlds start from: `snakemake mini_backbone`.
use rule stage as mini_backbone with:
    output:
        weights=f"{RESULTS}/mini-backbone/mini-backbone.safetensors",
        card=f"{RESULTS}/mini-backbone/mini-backbone.json",
    log:
        f"{LOGS}/mini-backbone.log",
    threads: 1
    resources:
        mem_mb=2000,
        runtime=600,
    params:
        command=lambda _: f"{RECLIP} pretrain-backbone --output {RESULTS}/mini-backbone",
