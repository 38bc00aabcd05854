# Trained models with their cards, for `reclip predict` and `reclip export`.


use rule stage as package with:
    input:
        needs("package"),
    output:
        f"{RESULTS}/runs/{{run}}/model/receipt.json",
    log:
        f"{LOGS}/package/{{run}}.log",
    params:
        command=command("package"),
