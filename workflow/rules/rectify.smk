# Learn the bias of CLIP, and write masks of the rectified CLIP.


use rule stage as rectify with:
    input:
        needs("rectify"),
    output:
        f"{RESULTS}/runs/{{run}}/rectify/{{seed}}/receipt.json",
    log:
        f"{LOGS}/rectify/{{run}}/{{seed}}.log",
    params:
        command=command("rectify"),


use rule stage as pseudo_mask with:
    input:
        needs("pseudo-mask"),
    output:
        f"{RESULTS}/runs/{{run}}/pseudo-mask/{{seed}}/receipt.json",
    log:
        f"{LOGS}/pseudo-mask/{{run}}/{{seed}}.log",
    params:
        command=command("pseudo-mask"),
