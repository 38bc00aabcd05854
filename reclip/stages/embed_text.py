"""Stage `embed-text`: the Query text embeddings W_q of a dataset (paper Sec. 3.1)."""

from __future__ import annotations

from reclip.clip.load import load_clip
from reclip.clip.prompts import templates
from reclip.clip.text import query_embeddings
from reclip.common.files import atomic
from reclip.data.index import DataSet
from reclip.device import setup
from reclip.pipeline.artifacts import WEIGHTS_FILE
from reclip.pipeline.job import Job
from reclip.pipeline.receipts import finish
from reclip.rectify.model import BiasModel


def main(job: Job) -> None:
    """Write the unrectified CLIP: a Rectifier with a Query and no bias to subtract."""
    device = setup(job.settings["compute"])
    clip = load_clip(job.settings["clip"], device)
    names = DataSet(job.inputs["data"].folder).class_names
    w_query = query_embeddings(clip, names, templates(job.settings["prompts"].templates))
    path = job.folder / WEIGHTS_FILE
    with atomic(path) as partial:
        BiasModel(w_query, clip.positional_embedding, clip.grid).freeze().save(partial)
    finish(job, [path])
