# From data to Tables 1 to 7. Settings: params.yaml. Every rule runs the `reclip` command of its name.
# The jobs: reclip/pipeline/recipes.py. Which of them are stale: reclip/pipeline/receipts.py.
import os
import shlex

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from reclip.common.errors import ReclipError
from reclip.config import PARAMS
from reclip.config.load import settings_file
from reclip.pipeline.plan import Plan
from reclip.pipeline.recipes import FIGURE_TABLES, FIGURES, check_files, gallery_files

min_version("9.0")


report: "workflow/report/workflow.rst"


try:
    SETTINGS = settings_file(
        config, workflow.configfiles, os.environ.get("RECLIP_PARAMS", PARAMS)
    )
    PLAN = Plan.load(SETTINGS)
except ReclipError as error:
    raise WorkflowError(str(error)) from None

RESULTS = PLAN.root.as_posix()
LOGS = f"logs/{PLAN.params.experiment}"


include: "workflow/rules/braces.smk"


# The command of every rule.
RECLIP = f"RECLIP_PARAMS={shlex.quote(SETTINGS)} python -m reclip"

LOGS_AT_END = PLAN.params.tracking.enabled and PLAN.params.tracking.when == "end"
if LOGS_AT_END:
    RECLIP = f"RECLIP_TRACKING_LATER=1 {RECLIP}"


onsuccess:
    end()


onerror:
    end()


wildcard_constraints:
    dataset="|".join(PLAN.params.datasets),
    run="|".join(PLAN.params.runs),
    seed=r"seed-\d+|query",
    table="|".join(PLAN.params.tables) or "none",


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/stage.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/clip.smk"
include: "workflow/rules/rectify.smk"
include: "workflow/rules/distill.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/model.smk"


rule all:
    default_target: True
    input:
        [path for job in PLAN.targets for path in job.declared],
        STALE_BY_DEFAULT,
    message:
        f"everything in {RESULTS}"


# snakemake table4
for _table in PLAN.params.tables:

    rule:
        name:
            _table
        input:
            PLAN.job("tabulate", _table).outputs,


if PLAN.params.check:

    # snakemake mini_check
    rule:
        name:
            f"{PLAN.params.experiment}_check"
        input:
            PLAN.job("check", PLAN.params.experiment).outputs,
