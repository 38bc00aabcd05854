# Tables, figures, the check over seeds, and what was found in a person's own photos.
FIGURE_TITLES = {
    name: name.removesuffix(".png").replace("-", " ").capitalize().replace("iou", "IoU")
    for name in FIGURES
}


rule tabulate:
    input:
        needs("tabulate", "table"),
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
    conda:
        "../envs/reclip.yaml"
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} tabulate --table {wildcards.table} >{log} 2>&1
        """


rule plot:
    input:
        needs("plot", "experiment"),
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
        f"{RESULTS}/figures/bias.csv",
        f"{RESULTS}/figures/receipt.json",
    log:
        f"{LOGS}/plot.log",
    conda:
        "../envs/reclip.yaml"
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} plot >{log} 2>&1
        """


rule check:
    input:
        needs("check", "experiment"),
    output:
        f"{RESULTS}/check/check.md",
        f"{RESULTS}/check/receipt.json",
    log:
        f"{LOGS}/check.log",
    conda:
        "../envs/reclip.yaml"
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} check >{log} 2>&1
        """


rule summarise:
    input:
        needs("summarise", "experiment"),
    output:
        f"{RESULTS}/summary/summary.md",
        f"{RESULTS}/summary/summary.json",
        f"{RESULTS}/summary/receipt.json",
    log:
        f"{LOGS}/summarise.log",
    conda:
        "../envs/reclip.yaml"
    params:
        reclip=RECLIP,
    shell:
        """
        {params.reclip} summarise >{log} 2>&1
        """
