# The parent of all rules: it has no files of its own and is never run.
rule stage:
    log:
        f"{LOGS}/stage.log",
    conda:
        literal(f"{workflow.basedir}/workflow/envs/reclip.yaml")
    threads: threads_of
    resources:
        **RESOURCES,
    params:
        command="",
    shell:
        "{params.command} >{log} 2>&1"
