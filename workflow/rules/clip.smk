# What the frozen CLIP says of texts and images, computed once.


rule embed_text:
    input:
        needs("embed-text", "dataset"),
    output:
        f"{RESULTS}/text/{{dataset}}/receipt.json",
    log:
        f"{LOGS}/embed-text/{{dataset}}.log",
    conda:
        "../envs/reclip.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=GPU,
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} embed-text --dataset {wildcards.dataset} >{log} 2>&1
        """


rule cache_features:
    input:
        needs("cache-features", "dataset"),
    output:
        f"{RESULTS}/features/{{dataset}}/receipt.json",
    log:
        f"{LOGS}/cache-features/{{dataset}}.log",
    conda:
        "../envs/reclip.yaml"
    threads: PLAN.params.compute.threads
    resources:
        gpu=GPU,
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} cache-features --dataset {wildcards.dataset} >{log} 2>&1
        """


rule hypothesise:
    input:
        needs("hypothesise", "dataset"),
    output:
        f"{RESULTS}/hypotheses/{{dataset}}/receipt.json",
    log:
        f"{LOGS}/hypothesise/{{dataset}}.log",
    conda:
        "../envs/reclip.yaml"
    threads: PLAN.params.compute.threads
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} hypothesise --dataset {wildcards.dataset} >{log} 2>&1
        """


rule mini_clip:
    output:
        weights=f"{RESULTS}/mini-clip/mini-clip.safetensors",
        card=f"{RESULTS}/mini-clip/mini-clip.json",
    log:
        f"{LOGS}/mini-clip.log",
    conda:
        "../envs/reclip.yaml"
    threads: 1
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} pretrain --output $(dirname {output.weights}) --threads {threads} >{log} 2>&1
        """
