"""Putting records into MLflow once each, whole, however often and by however many it is tried.

A child is known by its digest and seed, a parent by its run id or dataset. A run is whole when it
is FINISHED, which it becomes last; one that is not was broken off, and is gone on with.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reclip.tracking.records import Record, as_text

if TYPE_CHECKING:
    from mlflow.entities import Run

    from reclip.tracking.store import Store

FINISHED, PARENT = "FINISHED", "mlflow.parentRunId"
WHO = ("kind", "run", "dataset")  # tags that say which row a parent stands for


def is_there(parent: Record, children: list[Record], runs: list[Run]) -> bool:
    """Whether all of it is among `runs` already, so that `record` would change nothing."""
    above = [run for run in runs if _stands_for(run, parent)]
    if len(above) != 1 or not _is_whole(above[0], parent):
        return False
    if parent.tags.get("digest") not in (None, above[0].data.tags.get("digest")):
        return False
    there = {
        (run.data.tags.get("digest"), run.data.tags.get("seed"))
        for run in runs
        if run.data.tags.get(PARENT) == above[0].info.run_id
        and run.info.status == FINISHED
        and "superseded" not in run.data.tags
    }
    return all((child.tags["digest"], child.tags.get("seed")) in there for child in children)


def record(store: Store, parent: Record, children: list[Record]) -> None:
    """Have a job's records in the store, below the parent; those of its earlier settings stay."""
    above = _parent(store, parent)
    job, digest = children[0].tags["job"], children[0].tags["digest"]
    of_job = store.runs(job=job)
    for run in of_job:
        if run.data.tags.get("digest") != digest:
            store.tag(run, "superseded", "yes")
    known = [run for run in of_job if run.data.tags.get("digest") == digest]
    for child in children:
        child.tags[PARENT] = above.info.run_id
    news = [_child(store, child, known) for child in children]
    # The digest says whose metrics the parent has, so it comes after them.
    if parent.tags.get("digest") not in (None, above.data.tags.get("digest")):
        store.fill(above, parent, logged=set())
        store.tag(above, "digest", parent.tags["digest"])
    if any(news) or above.info.status != FINISHED:
        store.end(above, parent.ended)


def _stands_for(run: Run, parent: Record) -> bool:
    return all(run.data.tags.get(name) == parent.tags.get(name) for name in WHO)


def _is_whole(row: Run, parent: Record) -> bool:
    return row.info.status == FINISHED and row.data.params == as_text(parent.params)


def _parent(store: Store, parent: Record) -> Run:
    """The run of a row; anew if its settings changed, for parameters of a run are for ever."""
    params = as_text(parent.params)
    found = store.runs(**{name: parent.tags[name] for name in WHO if name in parent.tags})
    kept = next((run for run in found if run.data.params.items() <= params.items()), None)
    if kept is None or not _is_whole(kept, parent):
        tags = {name: value for name, value in parent.tags.items() if name != "digest"}
        bare = replace(parent, tags=tags, metrics={}, files=[])
        kept = kept or store.create(bare)
        store.fill(kept, bare, logged=set())
    for run in found:
        if run.info.run_id != kept.info.run_id:
            for child in store.runs(**{PARENT: run.info.run_id}):
                store.tag(child, PARENT, kept.info.run_id)
            store.delete(run)
    return kept


def _child(store: Store, child: Record, known: list[Run]) -> bool:
    """Have the child's run whole: gone on with if it was broken off; False if it was there.

    Of several, which two machines made at once, one stays.
    """
    mine = [run for run in known if run.data.tags.get("seed") == child.tags.get("seed")]
    mine.sort(key=lambda run: run.info.status != FINISHED)
    for run in mine[1:]:
        store.delete(run)
    run = mine[0] if mine else store.create(child)
    store.tag(run, PARENT, child.tags[PARENT])
    store.tag(run, "superseded", None)  # its settings may be on screen again
    if run.info.status == FINISHED:
        return False
    store.fill(run, child, store.points(run))
    store.end(run, child.ended)
    return True
