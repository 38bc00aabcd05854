# The DeepLabV2 student and the linear probe on it.


rule distill:
    input:
        needs("distill", "run"),
    output:
        f"{RESULTS}/runs/{{run}}/distill/receipt.json",
    log:
        f"{LOGS}/distill/{{run}}.log",
    conda:
        "../envs/reclip.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=GPU,
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} distill --run {wildcards.run} >{log} 2>&1
        """


rule probe:
    input:
        needs("probe", "run"),
    output:
        f"{RESULTS}/runs/{{run}}/probe/receipt.json",
    log:
        f"{LOGS}/probe/{{run}}.log",
    conda:
        "../envs/reclip.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=GPU,
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} probe --run {wildcards.run} >{log} 2>&1
        """
