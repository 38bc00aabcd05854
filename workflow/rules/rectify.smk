# Learning the bias of CLIP, and masks from what is rectified.


rule rectify:
    input:
        needs("rectify", "run"),
    output:
        f"{RESULTS}/runs/{{run}}/rectify/receipt.json",
    log:
        f"{LOGS}/rectify/{{run}}.log",
    conda:
        "../envs/reclip.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=GPU,
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} rectify --run {wildcards.run} >{log} 2>&1
        """


rule pseudo_mask:
    input:
        needs("pseudo-mask", "run"),
    output:
        f"{RESULTS}/runs/{{run}}/pseudo-mask/receipt.json",
    log:
        f"{LOGS}/pseudo-mask/{{run}}.log",
    conda:
        "../envs/reclip.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=GPU,
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} pseudo-mask --run {wildcards.run} >{log} 2>&1
        """
