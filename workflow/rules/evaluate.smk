# Metrics of every seed on the val split, gathered for every run.


use rule stage as evaluate with:
    input:
        needs("evaluate"),
    output:
        f"{RESULTS}/runs/{{run}}/evaluate/{{seed}}/receipt.json",
    log:
        f"{LOGS}/evaluate/{{run}}/{{seed}}.log",
    params:
        command=command("evaluate"),


use rule stage as gather with:
    input:
        needs("gather"),
    output:
        f"{RESULTS}/runs/{{run}}/metrics.json",
        f"{RESULTS}/runs/{{run}}/gather/receipt.json",
    log:
        f"{LOGS}/gather/{{run}}.log",
    params:
        command=command("gather"),
