"""Results to a remote of DVC and back into a clone, whatever the remote's protocol."""

from __future__ import annotations

from pathlib import Path

from support.stand_ins import Project


def configure(project: Project, *, local: bool = False, **options: str) -> None:
    """Set options of the remote; `local` keeps them out of git, as keys and passwords must be."""
    scope = ["--local"] if local else []
    for key, value in options.items():
        project.run("dvc", "remote", "modify", *scope, "store", key, value)


def push(project: Project) -> None:
    """Make, record, commit and push all results."""
    project.make_all()
    assert "dvc push" in project.run("reclip", "record")
    project.commit()
    project.run("dvc", "push")


def require_same(clone: Project, project: Project) -> None:
    """Restore a clone's results: they are the project's, and neither tool has anything to do."""
    clone.run("reclip", "restore")
    assert clone.bytes() == project.bytes()
    assert clone.planned() == set()
    clone.run("snakemake")
    assert "up to date" in clone.run("dvc", "status")
    clone.run("dvc", "repro")
    assert clone.ran() == set()
    assert clone.bytes() == project.bytes()


def refused(clone: Project) -> str:
    """Return the last line of a `reclip restore` that fails."""
    said = clone.run("reclip", "restore", check=False)
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("error: ")
    return said.splitlines()[-1]


def files_with(folder: Path, text: str) -> set[str]:
    found = {path for path in folder.rglob("*") if path.is_file()}
    return {str(p.relative_to(folder)) for p in found if text.encode() in p.read_bytes()}


def seen_by_git(project: Project) -> str:
    """Return the files that git tracks, or would by `git add -A`."""
    return project.run("git", "ls-files", "--others", "--cached", "--exclude-standard")
