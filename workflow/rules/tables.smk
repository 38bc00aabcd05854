# Tables, figures, the check over more seeds, and the summary of unlabelled photos.
FIGURE_TITLES = {
    name: name.removesuffix(".png").replace("-", " ").capitalize().replace("iou", "IoU")
    for name in FIGURES
} | {
    "preference.png": "Class and space preference",
    "companions.png": "Planted companions",
}


use rule stage as tabulate with:
    input:
        needs("tabulate"),
    output:
        f"{RESULTS}/tables/{{table}}.csv",
        f"{RESULTS}/tables/{{table}}.md",
        report(
            f"{RESULTS}/tables/{{table}}.html",
            category="Tables",
            caption="../report/table.rst",
            labels={"table": "{table}"},
        ),
        f"{RESULTS}/tables/{{table}}.receipt.json",
    log:
        f"{LOGS}/tabulate/{{table}}.log",
    params:
        command=command("tabulate"),


use rule stage as plot with:
    input:
        needs("plot"),
    output:
        [
            report(
                f"{RESULTS}/figures/{name}",
                category="Figures",
                caption=f"../report/{name.removesuffix('.png')}.rst",
                labels={"figure": FIGURE_TITLES[name]},
            )
            for name in FIGURES
        ],
        [f"{RESULTS}/figures/{name}" for name in FIGURE_TABLES],
        f"{RESULTS}/figures/receipt.json",
    log:
        f"{LOGS}/plot.log",
    params:
        command=command("plot"),


use rule stage as check with:
    input:
        needs("check"),
    output:
        report(
            f"{RESULTS}/check/check.md",
            category="Check",
            caption="../report/check.rst",
        ),
        [f"{RESULTS}/check/{name}" for name in check_files(PLAN.params.tables)[1:]],
        f"{RESULTS}/check/receipt.json",
    log:
        f"{LOGS}/check.log",
    params:
        command=command("check"),


use rule stage as summarise with:
    input:
        needs("summarise"),
    output:
        f"{RESULTS}/summary/summary.md",
        f"{RESULTS}/summary/summary.json",
        [
            f"{RESULTS}/summary/{page}"
            for page in gallery_files(PLAN.experiment.own_photos).values()
        ],
        f"{RESULTS}/summary/receipt.json",
    log:
        f"{LOGS}/summarise.log",
    params:
        command=command("summarise"),
