"""What comes from outside runs no code and leaves no folder; servers are for this machine alone.

More of it: test_unpack (archives), test_state_dict (weights), test_prepare and test_context (names
in lists), test_bad_input and test_bad_files (datasets); passwords are test_passwords'.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from reclip.common.errors import ReclipError
from reclip.common.files import read_json, write_json
from reclip.config.load import _Loader, validate
from reclip.config.params import Params
from reclip.evaluate.results_table import printed
from reclip.tracking import records
from support.mlflow_results import finish_with
from support.paths import ROOT

# No code that is not ours

LOADERS = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
RUNNERS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.jit.load",
           "pickle.load", "pickle.loads", "pandas.read_pickle", "tempfile.mktemp"}  # fmt: skip


def running_code(text: str) -> list[str]:
    """Calls and imports of a module's text by which data could become code."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            found += sorted(LOADERS & names)
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).replace("np.", "numpy.").replace("pd.", "pandas.")
        given = {key.arg: ast.unparse(key.value) for key in node.keywords}
        bad = name in RUNNERS or name.split(".")[-1] in ("extractall", "unpack_archive")
        bad |= name == "torch.load" and given.get("weights_only") != "True"
        bad |= name.startswith("numpy.") and given.get("allow_pickle", "False") != "False"
        bad |= name in ("yaml.unsafe_load", "yaml.full_load", "yaml.load")
        bad |= given.get("shell", "False") != "False"
        found += [ast.unparse(node)] if bad else []
    return found


# A subclass of pickle.Unpickler that builds nothing but tensors (test_state_dict), the name of an
# error, a subclass of yaml.SafeLoader, and members that are checked first (test_unpack).
KNOWN = {
    "reclip/data/download/unpack.py": [
        "tar.extractall(folder, _with_progress(members), filter='data')",
        "bundle.extractall(folder, _with_progress(_checked(found, archive, folder)))",
    ],
    "reclip/weights/torchscript.py": ["pickle"],
    "reclip/weights/state_dict.py": ["pickle"],
    "reclip/config/load.py": ["yaml.load(text, _Loader)"],
}


def test_nothing_here_makes_code_of_data() -> None:
    texts = {p.relative_to(ROOT).as_posix(): p.read_text() for p in ROOT.glob("reclip/**/*.py")}
    assert len(texts) > 80
    assert {name: bad for name, text in texts.items() if (bad := running_code(text))} == KNOWN
    assert issubclass(_Loader, yaml.SafeLoader)


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)", "torch.load(path, weights_only=False)", "from pickle import loads",
        "np.load(path, allow_pickle=True)", "eval(text)", "os.system(text)", "yaml.load(text)",
        "subprocess.run(text, shell=True)", "tarfile.open(path).extractall()",
    ],
)  # fmt: skip
def test_the_scan_finds_what_it_looks_for(line: str) -> None:
    assert running_code(line)


# No way out of the experiment's folder

NAMES = ["", ".", "..", "../up", "/up", "a/b", "a\\b", "-f", "~a", "a b", "a;b", "$(a)", "a\n", "ä"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["experiment", "datasets", "runs", "tables"])
def test_a_name_is_a_word(tiny_params, kind: str, name: str) -> None:
    params = tiny_params()
    if kind == "experiment":
        params[kind] = name
    else:
        params[kind][name] = next(iter(params[kind].values()))
    with pytest.raises(ReclipError, match="should match pattern"):
        validate(Params, params)


def test_every_path_of_a_plan_is_in_the_experiments_folder(tiny_plan) -> None:
    for job in tiny_plan().jobs:
        for path in (job.folder, job.receipt, job.plan_file, *job.outputs):
            assert path.is_relative_to("results/tiny") and ".." not in path.parts


@pytest.mark.parametrize("stage", ["prepare", "rectify", "tabulate"])
@pytest.mark.parametrize("id", ["../voc", "/etc", "voc/../voc"])
def test_a_stage_takes_no_path_for_an_id(tiny_plan, stage: str, id: str) -> None:
    with pytest.raises(ReclipError, match="no (dataset|run|table)"):
        tiny_plan().job(stage, id)


@pytest.mark.parametrize("name", ["/etc/x.json", "../../../../x.json", "../../../tiny-2/x.json"])
def test_a_receipt_hands_no_other_file_to_mlflow(project: Path, tiny_plan, name: str) -> None:
    """Receipts come along with other people's results."""
    plan = tiny_plan()
    job = finish_with(plan.job("prepare", "voc"), {"classes.json": "{}"})
    assert [records.child(plan, job)][0].files[0].name == "classes.json"
    receipt = read_json(job.receipt)
    write_json(job.receipt, {**receipt, "outputs": {name: {"bytes": 1, "sha256": ""}}})
    with pytest.raises(ReclipError, match="outside the experiment: delete the receipt"):
        [records.child(plan, job)]


def test_servers_are_for_this_machine_alone() -> None:
    command = next(t for t in (ROOT / "Makefile").read_text().splitlines() if "mlflow ui" in t)
    assert "--host 127.0.0.1 " in command
    files = [*ROOT.glob("reclip/**/*.py"), *ROOT.glob("workflow/**/*"), ROOT / "Makefile",
             ROOT / "Snakefile", ROOT / "README.md", *ROOT.glob("docs/*.md")]  # fmt: skip
    open_to_all = re.compile(r"\b0\.0\.0\.0\b|--allowed-hosts|--cors-allowed-origins")
    for file in files:
        if file.is_file() and "__pycache__" not in file.parts:
            assert not open_to_all.search(file.read_text(encoding="utf-8")), file


def test_a_table_is_text_in_the_report() -> None:
    table = {"title": "<script>a</script>", "head": ["<b>x</b>"], "rows": [["<img onerror=a>"]]}
    page = printed(table | {"notes": []}, ".html")
    assert "<script>" not in page and "<img" not in page and "&lt;b&gt;x" in page
