# Trained models with their cards, to be used on photos: `reclip predict`, `reclip export`.


rule package:
    input:
        needs("package", "run"),
    output:
        f"{RESULTS}/runs/{{run}}/model/receipt.json",
    log:
        f"{LOGS}/package/{{run}}.log",
    conda:
        "../envs/reclip.yaml"
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} package --run {wildcards.run} >{log} 2>&1
        """
