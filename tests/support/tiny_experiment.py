"""A tiny experiment as `params.yaml` would hold it: six and four drawn scenes, seconds a stage."""

from __future__ import annotations

import copy
from typing import Any

TINY = {
    "experiment": "tiny",
    "compute": {"device": "cpu", "threads": 1},
    "clip": {"model": "mini-clip"},
    "prompts": {"templates": "single"},
    "views": {"count": 2, "crop": 48, "scale": [0.8, 1.25]},
    "rectify": {"epochs": 2, "batch": 4, "positional_hidden": [8, 4], "prompt_length": 4},
    "distill": {
        "backbone": "test_resnet",
        "pretrained": False,
        "epochs": 2,
        "batch": 4,
        "feature_resolution": "grid",
    },
    "probe": {"epochs": 1, "batch": 4},
    "tracking": {"enabled": False},
    "seeds": {"rectify": [0, 1], "distill": [0], "probe": [0]},
    "datasets": {"voc": {"source": {"kind": "world", "world": "voc", "train": 6, "val": 4}}},
    "runs": {
        "query": {"dataset": "voc", "method": "query"},
        "ref-pe": {"dataset": "voc", "method": "rectify"},
        "distill": {"dataset": "voc", "method": "distill", "teacher": "ref-pe"},
        "probe": {"dataset": "voc", "method": "probe", "student": "distill"},
    },
    "tables": {
        "table4": {
            "title": "Effect of bias modeling",
            "rows": [
                {"row": "Query", "cells": {"voc": {"paper": 49.5, "run": "query"}}},
                {
                    "row": "Query + Reference + PE",
                    "cells": {"voc": {"paper": 58.5, "run": "ref-pe"}},
                },
            ],
        }
    },
    "check": {"seeds": [0, 1]},  # of table4's runs, which have no others
}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, mapping by mapping; a value of None removes its key."""
    out = copy.deepcopy(base)
    for key, value in changes.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merged(out[key], value)
        else:
            out[key] = value
    return out
