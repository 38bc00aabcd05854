# Metrics of every run on the val split.


use rule stage as evaluate with:
    input:
        needs("evaluate"),
    output:
        f"{RESULTS}/runs/{{run}}/metrics.json",
        f"{RESULTS}/runs/{{run}}/evaluate/receipt.json",
    log:
        f"{LOGS}/evaluate/{{run}}.log",
    resources:
        gpu=gpus("evaluate"),
    params:
        command=command("evaluate"),
