"""Read and validate the settings file; every error becomes one sentence."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from reclip.common.errors import ReclipError
from reclip.common.passwords import without_password
from reclip.common.text import listed, nearest
from reclip.config import PARAMS
from reclip.config.base import Settings
from reclip.config.params import Params
from reclip.config.sources import Source

KEY = "params"
"""The only key of Snakemake's `--config`."""

VARIABLES = ("RECLIP_PARAMS", "RECLIP_TRACKING_LATER", "RECLIP_WARM", "RECLIP_CHECKPOINT_SECONDS")
"""Environment variables that are read."""


def validate(model: type[Settings], data: Any, at: str = "") -> Any:
    """Return `data` as a `model`.

    at: the key of `data` in the settings file, for the error.
    Raises ReclipError: the first invalid key or value, with its full path.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        loc = tuple(part for part in first["loc"] if part != "[key]")  # the key itself is invalid
        tags = {_tag(m) for m in get_args(Source)}  # pydantic has the kind of a source in the path
        pairs = zip(("", *loc), loc, strict=False)
        written = [str(part) for before, part in pairs if before != "source" or part not in tags]
        path = ".".join([at, *written] if at else written)
        if first["type"] == "extra_forbidden":
            hint = nearest(str(first["loc"][-1]), _fields_at(model, first["loc"][:-1]))
            raise ReclipError(f"params: unknown key '{path}'{hint}") from error
        message = first["msg"].removeprefix("Value error, ")
        got = without_password(repr(first["input"]))
        got = got if len(got) <= 80 else got[:80] + "…"
        got = "" if first["type"] == "missing" else f" (got {got})"
        raise ReclipError(f"params: '{path}': {message[0].lower()}{message[1:]}{got}") from error


def _fields_at(model: type[Settings], loc: tuple) -> set[str]:
    """Return the keys that the model at a location inside `model` knows."""
    models = [model]
    for part in loc:
        if all(part in m.model_fields for m in models):
            models = [c for m in models for c in _settings_in(m.model_fields[part].annotation)]
        else:  # a key of a mapping, a position, or the tag of a source's kind
            models = [m for m in models if _tag(m) == part] or models
    return {name for m in models for name in m.model_fields}


def _settings_in(annotation: Any) -> list[type[Settings]]:
    """Return the settings models in an annotation such as `dict[str, Model]` or `A | B`."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [m for arg in get_args(annotation) for m in _settings_in(arg)]


def _tag(model: type[Settings]) -> str | None:
    kind = model.model_fields.get("kind")
    return get_args(kind.annotation)[0] if kind else None


class _Loader(yaml.SafeLoader):
    """A YAML loader that refuses a key given twice; PyYAML would silently use the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"key '{key.value}' is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def settings_file(
    config: Mapping[str, Any], files: Sequence[str] = (), default: str = PARAMS
) -> str:
    """Return the settings file that Snakemake's config names.

    Args:
        config: of Snakemake: the only key is `params`.
        files: those of `--configfile`, for the error.
        default: the file if none is named.
    Raises ReclipError: there is another key, which would be ignored, or no file name.
    """
    unknown = [str(key) for key in config if key != KEY]
    if unknown:
        hint = nearest(unknown[0], [KEY])
        named = config.get(KEY) or (files[0] if files else "FILE")
        raise ReclipError(
            f"unknown key{'s' * (len(unknown) > 1)} {listed([repr(key) for key in unknown])} in "
            f"Snakemake's config{hint}: settings are in one file, which is named by "
            f"`--config params={shlex.quote(str(named))}`"
        )
    named = config.get(KEY, default)
    if not isinstance(named, str) or not named:
        raise ReclipError(
            f"--config params={named} names no settings file: give the path of a file, and "
            f"rename a file whose name is a number or YAML to NAME.yaml"
        )
    return named


def require_known_variables(names: Iterable[str]) -> None:
    """Raise ReclipError if a name of `names` looks like a misspelt variable of `VARIABLES`.

    Other names that begin with RECLIP_ may belong to the user.
    """
    for name in sorted(set(names) - set(VARIABLES)):
        if name.startswith("RECLIP") and (close := get_close_matches(name, VARIABLES, 1, 0.85)):
            raise ReclipError(
                f"unknown environment variable {name}; did you mean '{close[0]}'? Rename or unset "
                f"it"
            )


def load_params(path: str | Path) -> Params:
    """Read and validate a settings file.

    Raises ReclipError: the file is missing or not YAML, or a key, a value or an environment
        variable is invalid.
    """
    require_known_variables(os.environ)
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        data = yaml.load(text, _Loader)  # a SafeLoader # nosec B506
    except FileNotFoundError as error:
        raise ReclipError(
            f"no settings file '{path}': run from the project's folder, name the file by --params "
            f"(with snakemake: --config params=FILE), or write one with `reclip init`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ReclipError(
            f"Cannot read the settings file '{path}': {why}. Write one with `reclip init`."
        ) from error
    except RecursionError as error:
        raise ReclipError(f"Settings file '{path}' is nested too deeply: fix it") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1} ({error.problem})" if mark else ""
        raise ReclipError(
            f"'{path}' is not valid YAML{where}: fix that line or its indentation"
        ) from error
    if not isinstance(data, dict):
        raise ReclipError(f"'{path}' has no settings: it must be a mapping of sections")
    return validate(Params, data)
