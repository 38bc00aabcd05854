"""Read and check the user's list of class names with synonyms."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from reclip.common.errors import ReclipError
from reclip.config.class_text import more_than_names

Classes = tuple[tuple[str, ...], ...]
"""The names of each class. Pictures show the first; the text embedding averages all."""

MOST = 255  # label maps have 8 bits, and 255 means no class
MARKS = ",=|"
HOW = 'write e.g. "cat, dog, person=person|man|woman"'


def parse_classes(text: str) -> Classes:
    """Return classes from text: `NAME` or `NAME=SYNONYM|SYNONYM`, separated by commas or lines.

    The name itself counts as a synonym; `#` starts a comment.
    Raises ReclipError: the text holds more than names, a name is missing between two marks, or
        `checked` refuses the list.
    """
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if more := more_than_names(lines):
        raise ReclipError(f"--classes: {more}: write only names, in the order of their numbers")
    found = [_names(entry, line) for line in lines for entry in line.split(",")]
    try:
        return checked(found)
    except ValueError as error:
        raise ReclipError(f"--classes: {error}") from error


def _names(entry: str, line: str) -> tuple[str, ...]:
    name, sign, synonyms = (part.strip() for part in entry.partition("="))
    others = [s.strip() for s in synonyms.split("|")] if sign else []
    if not name or "" in others:
        raise ReclipError(
            f"--classes: a name is missing before or after a mark in '{entry.strip()}'"
            f"{'' if entry.strip() else f' of {line[:80]!r}'}: {HOW}"
        )
    if "|" in name or "=" in synonyms:
        raise ReclipError(
            f"--classes: '{entry.strip()}' is not NAME=SYNONYM|SYNONYM: start with the name to "
            f"show, {HOW}"
        )
    return tuple(dict.fromkeys([name, *others]))


def read_classes(given: str) -> Classes:
    """Return classes from the text file `given`, or from `given` itself if it is no file.

    Raises ReclipError: the file is missing or not text, or as `parse_classes`.
    """
    path = Path(given).expanduser()
    # A list of names may be too long for a file name.
    looks_like_file = len(given) < 1000 and (path.suffix == ".txt" or "/" in given)
    if not looks_like_file and not (len(given) < 250 and path.is_file()):
        return parse_classes(given)
    try:
        content = path.read_bytes()
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return parse_classes(content.decode("utf-16" if marked else "utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ReclipError(
            f"--classes: Cannot read '{path}': {why}. Give a text file with one class a line."
        ) from error


def checked(classes: Sequence[Sequence[str]]) -> Classes:
    """Return `classes` with single spaces in names.

    Raises ValueError: there are fewer than two or too many classes; or a name is empty, holds a
        mark of the list, or is listed twice.
    """
    cleaned = tuple(tuple(" ".join(name.split()) for name in names) for names in classes)
    if not cleaned:
        raise ValueError(f"the list of classes is empty: {HOW}")
    owner: dict[str, str] = {}
    for names in cleaned:
        if not names or not all(names):
            raise ValueError("a class has an empty name: give it a name or remove it")
        for name in names:
            if not name.isprintable() or any(mark in name for mark in MARKS):
                raise ValueError(
                    f"the class name {name[:80]!r} holds ',', '=', '|' or an unprintable "
                    f"character: remove it"
                )
            if other := owner.get(name.lower()):  # CLIP's tokenizer lowers case
                of = "" if other.lower() == names[0].lower() else f", by '{other}' and '{names[0]}'"
                raise ValueError(f"the class name '{name}' is listed twice{of}: keep it once")
            owner[name.lower()] = names[0]
    if len(cleaned) < 2:
        raise ValueError(
            f"'{cleaned[0][0][:80]}' is the only class, so every pixel would get it: add the other "
            f"things that the photos show, separated by ','"
        )
    if len(cleaned) > MOST:
        raise ValueError(f"there are {len(cleaned)} classes, but at most {MOST} fit: merge some")
    return cleaned


def in_other_scripts(classes: Classes) -> list[str]:
    """Return the names with non-Latin letters.

    CLIP was trained on English captions. It does not know such words, so masks would be noise.
    """
    return [
        name
        for names in classes
        for name in names
        if any(c.isalpha() and "LATIN" not in unicodedata.name(c, "") for c in name)
    ]
