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
