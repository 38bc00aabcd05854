"""Find the weights in a training checkpoint, and give them the names of the bare model.

A checkpoint may hold the weights under a key, several sets of them, and names with prefixes of the
wrappers that the model was trained in.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

KEYS = ("state_dict", "model", "model_state_dict", "model_state", "module", "net", "network",
        "params", "weights")  # fmt: skip
"""Keys of the weights in checkpoints of open_clip, timm, torchvision, mmengine and others."""

PREFIXES = ("module", "model", "net", "network", "backbone", "clip", "clip_model")
"""What parallel training, averaging and Lightning put before every name, with a dot."""

AVERAGED = re.compile(r"(^|[._-])(ema|averaged|swa)($|[._-])", re.IGNORECASE)
"""Averaged weights: `state_dict_ema`, `model_ema`, `ema`, `params_ema`."""

INSIDE = re.compile(r"(^|(?<=\.))(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What torch.compile, FSDP and activation checkpointing put before names of the part they wrap."""

COUNTERS = {"n_averaged", "initted", "step"}
"""Numbers that averaging (torch's AveragedModel, ema-pytorch) stores beside the model."""


def weights_of(checkpoint: Mapping[Any, Any], source: str) -> dict[str, Any]:
    """Return the tensors and numbers of a checkpoint's weights, named as in the bare model.

    Of averaged and raw weights, the averaged are taken, as timm does. The log says what is taken
    if there is a choice.

    source: names the file in the log.
    Raises ValueError: the checkpoint holds several sets of weights that differ, or two tensors of
        one name.
    """
    sets = dict(_sets(checkpoint))
    if _tensors(checkpoint):  # then an unusual key holds no weights but the state of something else
        sets = {key: found for key, found in sets.items() if _is_usual(key)}
    unread = [key for key in checkpoint if _is_other_average(key, checkpoint[key], sets)]
    state = bare_names(_taken(sets, source, unread) if sets else checkpoint)
    parts = _parts(state)
    return bare_names(_taken(parts, source)) if parts else state


def _taken(
    sets: Mapping[str, Mapping], source: str, unread: Sequence[str] = ()
) -> Mapping[str, Any]:
    """Return the set to take; log its key if there are others. unread: keys that cannot be used."""
    chosen = _choose(sets)
    others = [key for key in sets if key != chosen] + list(unread)
    if others:
        why = " (averaged, as timm does)" if AVERAGED.search(chosen) else ""
        log.info("%s: weights under '%s'%s; not used: %s", source, chosen, why, ", ".join(others))
    return sets[chosen]


def bare_names(state: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the tensors and numbers of `state` without the prefixes of wrappers.

    A prefix is removed as often as all names have it.
    Raises ValueError: two names become one without the prefixes.
    """
    named = {INSIDE.sub("", name): name for name, value in state.items() if _is_weight(name, value)}
    count = sum(_is_weight(name, value) for name, value in state.items())
    if len(named) < count:
        raise ValueError("holds a compiled and a plain copy of the same weights")
    while prefix := _common_prefix(named.keys() - COUNTERS):
        wrapped = {n.removeprefix(prefix): was for n, was in named.items() if n not in COUNTERS}
        named = {INSIDE.sub("", name): was for name, was in wrapped.items()}
    return {name: state[was] for name, was in named.items()}


def _sets(node: Mapping[Any, Any], at: str = "", depth: int = 3) -> Iterator[tuple[str, Mapping]]:
    """Yield each mapping inside `node` that holds tensors, with its dotted key."""
    for key, value in node.items():
        if not isinstance(key, str) or not isinstance(value, Mapping):
            continue
        inside = list(_sets(value, f"{at}{key}.", depth - 1)) if depth > 1 else []
        if _tensors(value) and not any(_is_usual(found) for found, _ in inside):
            yield at + key, value
        else:
            yield from inside


def _parts(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a state dict by the first word of its names if one is of averaged weights."""
    parts: dict[str, dict[str, Any]] = {}
    for name, value in state.items():
        word, _, rest = name.partition(".")
        parts.setdefault(word, {})[rest] = value
    if any(AVERAGED.search(word) for word in parts):
        return {word: part for word, part in parts.items() if "" not in part}
    return {}


def _choose(sets: Mapping[str, Mapping]) -> str:
    """Return the key of the averaged weights, else of those under a usual key."""
    averaged = [key for key in sets if AVERAGED.search(key)]
    found = averaged or [key for key in sets if _is_usual(key)] or list(sets)
    first = bare_names(sets[found[0]])
    differ = [key for key in found[1:] if not _equal(first, bare_names(sets[key]))]
    if differ:
        names = " and ".join(f"'{key}'" for key in [found[0], *differ])
        raise ValueError(f"holds several sets of weights that differ, {names}")
    return found[0]


def _is_usual(key: str) -> bool:
    return bool(AVERAGED.search(key)) or all(part in KEYS for part in key.split("."))


def _is_other_average(key: object, value: object, sets: Mapping[str, Mapping]) -> bool:
    """Return whether `key` names averaged weights in a form that cannot be used."""
    named = isinstance(key, str) and AVERAGED.search(key)
    known = any(found.split(".")[0] == key for found in sets)
    return bool(named and isinstance(value, (Mapping, list, tuple)) and value and not known)


def _common_prefix(names: set[str]) -> str | None:
    """Return the prefix of a wrapper that all names have; None without one."""
    words = {name.partition(".")[0] for name in names if "." in name}
    whole = all("." in name for name in names)
    return f"{words.pop()}." if whole and len(words) == 1 and words <= set(PREFIXES) else None


def _is_weight(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, (Tensor, int, float))


def _tensors(node: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {k: v for k, v in node.items() if isinstance(k, str) and isinstance(v, Tensor)}


def _equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    same = one.keys() == other.keys()
    return same and all(
        torch.equal(torch.as_tensor(one[k]), torch.as_tensor(other[k])) for k in one
    )
