# From archives and drawn worlds to indexed data sets.


rule fetch:
    input:
        needs("fetch", "dataset"),
    output:
        f"{RESULTS}/raw/{{dataset}}/receipt.json",
    log:
        f"{LOGS}/fetch/{{dataset}}.log",
    conda:
        "../envs/reclip.yaml"
    threads: PLAN.params.compute.threads
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} fetch --dataset {wildcards.dataset} >{log} 2>&1
        """


rule prepare:
    input:
        needs("prepare", "dataset"),
    output:
        f"{RESULTS}/data/{{dataset}}/receipt.json",
    log:
        f"{LOGS}/prepare/{{dataset}}.log",
    conda:
        "../envs/reclip.yaml"
    threads: PLAN.params.compute.threads
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} prepare --dataset {wildcards.dataset} >{log} 2>&1
        """
