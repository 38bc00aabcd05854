"""Receipts: what vouches for an output, and what is said when it does not."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import pytest

from reclip.common.errors import ReclipError
from reclip.pipeline import code_digest, receipts
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish, require_inputs, why_stale, write_plan_file

PACKAGE = code_digest.PACKAGE


def job(folder: Path, settings: dict | None = None, inputs: dict | None = None, id="x") -> Job:
    return Job("prepare", id, folder / id, folder / "plan", settings or {"a": 1}, inputs or {})


def make(one: Job, content: str = "content") -> Path:
    output = one.folder / "out.txt"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(content)
    finish(one, [output])
    return output


def test_an_output_is_fresh_once_vouched_for(tmp_path: Path) -> None:
    one = job(tmp_path)
    assert why_stale(one) == "not made yet"
    make(one)
    assert why_stale(one) is None
    assert why_stale(job(tmp_path)) is None  # another process


def test_times_play_no_part(tmp_path: Path) -> None:
    output = make(job(tmp_path))
    os.utime(output, (0, 0))
    os.utime(job(tmp_path).receipt, (2_000_000_000, 2_000_000_000))
    assert why_stale(job(tmp_path)) is None


def test_a_changed_setting_is_named_and_a_revert_is_fresh_again(tmp_path: Path) -> None:
    make(job(tmp_path, {"lr": 0.1, "nested": {"k": [1]}}))
    reason = why_stale(job(tmp_path, {"lr": 0.2, "nested": {"k": [1]}}))
    assert reason == "lr 0.1 → 0.2"
    reason = why_stale(job(tmp_path, {"lr": 0.1, "nested": {"k": [1], "new": None}}))
    assert reason == "nested.new absent → None"
    assert why_stale(job(tmp_path, {"nested": {"k": [1]}, "lr": 0.1})) is None


def test_a_changed_input_is_named(tmp_path: Path) -> None:
    make(job(tmp_path, inputs={"data": job(tmp_path, {"seed": 0}, id="in")}))
    changed = job(tmp_path, inputs={"data": job(tmp_path, {"seed": 1}, id="in")})
    assert why_stale(changed) == "its input prepare in changed"


def test_the_receipt_of_another_job_vouches_for_nothing(tmp_path: Path) -> None:
    make(job(tmp_path, id="x"))
    other = job(tmp_path, id="y")
    other.folder.mkdir()
    other.receipt.write_bytes(job(tmp_path, id="x").receipt.read_bytes())
    assert why_stale(other) == "made by another job"


def test_changed_source_code_is_named(tmp_path: Path, monkeypatch) -> None:
    make(job(tmp_path))
    real = code_digest.modules_used("reclip.stages.prepare")
    monkeypatch.setattr(
        code_digest, "modules_used", lambda m: {**real, "reclip.data.world.scenes": "other"}
    )
    assert why_stale(job(tmp_path)) == "reclip/data/world/scenes.py changed"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("delete", "output missing"),
        ("truncate", "output changed in size"),
        ("folder gone", "output missing"),
    ],
)
def test_a_missing_or_shortened_output_is_noticed(tmp_path: Path, damage: str, said: str) -> None:
    one = job(tmp_path)
    (one.folder / "sub").mkdir(parents=True)
    output = one.folder / "sub" / "out.txt"
    output.write_text("content")
    finish(one, [output])
    if damage == "truncate":
        output.write_text("con")
    else:
        output.unlink()
    if damage == "folder gone":
        output.parent.rmdir()
        output.parent.write_text("a file in its place")
    assert why_stale(one) == f"{said}: sub/out.txt"


def test_a_same_sized_change_is_found_by_checksum(tmp_path: Path) -> None:
    output = make(job(tmp_path), "content")
    output.write_text("CONTENT")
    one = job(tmp_path)
    assert why_stale(one) is None  # sizes alone are asked on every command
    assert receipts.corrupted_outputs(one.receipt) == ["out.txt"]


@pytest.mark.parametrize("text", ["", "{", '{"stage": 1', "[]", '{"settings": {}}'])
def test_a_broken_receipt_is_none(tmp_path: Path, text: str) -> None:
    one = job(tmp_path)
    make(one)
    one.receipt.write_text(text)
    assert why_stale(one) == "not made yet"


def test_inputs_must_be_fresh(tmp_path: Path) -> None:
    source = job(tmp_path, {"seed": 0}, id="in")
    one = job(tmp_path, inputs={"data": source})
    with pytest.raises(ReclipError, match=r"needs prepare in, which is stale \(not made yet\)"):
        require_inputs(one)
    make(source)
    require_inputs(one)


def test_only_what_an_earlier_receipt_names_is_removed(tmp_path: Path) -> None:
    one = job(tmp_path)
    old = one.folder / "masks" / "seed-9.png"
    old.parent.mkdir(parents=True)
    old.write_text("of earlier settings")
    finish(one, [old])
    (one.folder / "mine.onnx").write_text("a person's")
    (one.folder / ".seed-1.checkpoint").write_text("of a job that goes on")
    receipts.invalidate(one)
    assert (one.folder / ".made.json").is_file() and old.is_file()
    make(one)
    assert sorted(p.name for p in one.folder.iterdir()) == [
        ".seed-1.checkpoint", "mine.onnx", "out.txt", "receipt.json",
    ]  # fmt: skip


def test_a_receipt_holds_no_time_and_no_machine(tmp_path: Path) -> None:
    """The same settings and bytes give the same receipt, wherever the project lies."""
    texts = []
    for place in ("here", "there"):
        one = job(tmp_path / place)
        make(one)
        texts.append(one.receipt.read_text())
    assert texts[0] == texts[1]
    receipt = json.loads(texts[0])
    assert set(receipt) == {
        "stage", "id", "seed", "settings", "modules", "inputs", "digest", "outputs",
    }  # fmt: skip


def test_the_wanted_file_is_rewritten_only_on_change(tmp_path: Path) -> None:
    one = job(tmp_path)
    write_plan_file(one)
    before = one.plan_file.stat().st_mtime_ns
    write_plan_file(job(tmp_path))
    assert one.plan_file.stat().st_mtime_ns == before
    write_plan_file(job(tmp_path, {"a": 2}))
    assert json.loads(one.plan_file.read_text())["settings"] == {"a": 2}


def canonical(code: str) -> str:
    return json.dumps(code_digest.canonical(ast.parse(code)), sort_keys=True)


def test_comments_and_docstrings_are_not_code() -> None:
    plain = "def f(x):\n    return x + 1\n"
    assert canonical(plain) == canonical('def f(x):\n    """Add."""\n\n    return (x + 1)  # one\n')
    for other in ("return x + 2", "return x + 1.0", "return x - 1", "return None", "return"):
        assert canonical(plain) != canonical(f"def f(x):\n    {other}\n")
    assert canonical("return_ = None") != canonical("return_ = True")


def test_modules_are_followed_through_imports() -> None:
    used = code_digest.modules_used("reclip.stages.evaluate")
    assert "reclip.rectify.model" in used  # imported at the top
    assert "reclip.distill.deeplab" in used  # imported inside a function
    assert "reclip.tracking.sync" not in used and "reclip.config.models" not in used
    assert "reclip.distill.deeplab" not in code_digest.modules_used("reclip.stages.rectify")


@pytest.mark.parametrize("suffix", [".md.j2", ".css", ".js"])
def test_a_module_s_template_is_part_of_its_digest(suffix, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(code_digest, "source_file", lambda module: tmp_path / "card.py")
    parsed = code_digest._parsed.__wrapped__
    (tmp_path / "card.py").write_text("x = 1\n")
    alone = parsed("card")
    (tmp_path / f"other{suffix}").write_text("text")
    assert parsed("card") == alone
    (tmp_path / f"card{suffix}").write_text("text")
    assert parsed("card") != alone


def test_every_import_of_the_package_is_seen() -> None:
    """Relative imports and imports by name at run time would hide code from the digest."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path
            hidden = isinstance(node, ast.Attribute) and node.attr == "import_module"
            # The command runs its stage's own module, the fork server imports all in advance.
            assert not hidden or path.name in ("stages.py", "preload.py"), path
