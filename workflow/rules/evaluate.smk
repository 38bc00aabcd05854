# Metrics of every run on the val split.


rule evaluate:
    input:
        needs("evaluate", "run"),
    output:
        f"{RESULTS}/runs/{{run}}/metrics.json",
        f"{RESULTS}/runs/{{run}}/evaluate/receipt.json",
    log:
        f"{LOGS}/evaluate/{{run}}.log",
    conda:
        "../envs/reclip.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=GPU,
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} evaluate --run {wildcards.run} >{log} 2>&1
        """
