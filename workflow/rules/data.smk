# From archives and drawn worlds to indexed datasets.


use rule stage as fetch with:
    input:
        needs("fetch"),
    output:
        f"{RESULTS}/raw/{{dataset}}/receipt.json",
    log:
        f"{LOGS}/fetch/{{dataset}}.log",
    params:
        command=command("fetch"),


use rule stage as prepare with:
    input:
        needs("prepare"),
    output:
        f"{RESULTS}/data/{{dataset}}/receipt.json",
    log:
        f"{LOGS}/prepare/{{dataset}}.log",
    params:
        command=command("prepare"),
