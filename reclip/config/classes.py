"""A person's list of class names: from text to names with their synonyms, and what is refused."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from reclip.common.errors import ReclipError

Classes = tuple[tuple[str, ...], ...]
"""The names of each class: the first is shown, all are embedded."""

MOST = 255  # label maps have 8 bits, and 255 is no class
MARKS = ",=|"
HOW = 'write e.g. "cat, dog, person=person|man|woman"'


def parse_classes(text: str) -> Classes:
    """Classes from `NAME` or `NAME=SYNONYM|SYNONYM`, separated by commas or lines.

    The name itself is one of its synonyms whether repeated or not; `#` begins a comment.
    Raises ReclipError: nothing between two marks, or the list as `checked` refuses it.
    """
    found = []
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        found += [_names(entry, line) for entry in line.split(",")] if line else []
    try:
        return checked(found)
    except ValueError as error:
        raise ReclipError(f"--classes: {error}") from error


def _names(entry: str, line: str) -> tuple[str, ...]:
    name, sign, synonyms = (part.strip() for part in entry.partition("="))
    others = [s.strip() for s in synonyms.split("|")] if sign else []
    if not name or "" in others:
        raise ReclipError(
            f"--classes: there is no name before or after a mark in '{entry.strip()}'"
            f"{'' if entry.strip() else f' of {line[:80]!r}'}: {HOW}"
        )
    if "|" in name or "=" in synonyms:
        raise ReclipError(
            f"--classes: '{entry.strip()}' is not NAME=SYNONYM|SYNONYM: begin with the one name "
            f"that stands for all, {HOW}"
        )
    return tuple(dict.fromkeys([name, *others]))


def read_classes(given: str) -> Classes:
    """Classes from a text file if `given` names one, else from `given` itself.

    Raises ReclipError: no such file, no text, or as `parse_classes`.
    """
    path = Path(given).expanduser()
    # A list of names may be longer than a file's name can be.
    looks_like_file = len(given) < 1000 and (path.suffix == ".txt" or "/" in given)
    if not looks_like_file and not (len(given) < 250 and path.is_file()):
        return parse_classes(given)
    try:
        content = path.read_bytes()
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return parse_classes(content.decode("utf-16" if marked else "utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise ReclipError(
            f"--classes: '{path}' cannot be read ({why}): name a text file with a class a line"
        ) from error


def checked(classes: Sequence[Sequence[str]]) -> Classes:
    """`classes`, blanks in names made single.

    Raises ValueError: fewer than two or too many classes, a name that is blank, holds a mark of the
    list or is there twice.
    """
    cleaned = tuple(tuple(" ".join(name.split()) for name in names) for names in classes)
    if not cleaned:
        raise ValueError(f"the list of classes is empty: {HOW}")
    owner: dict[str, str] = {}
    for names in cleaned:
        if not names or not all(names):
            raise ValueError("a class has an empty name: give it one or leave it out")
        for name in names:
            if not name.isprintable() or any(mark in name for mark in MARKS):
                raise ValueError(
                    f"the class name {name[:80]!r} holds ',', '=', '|' or a character that cannot "
                    f"be printed: take it out"
                )
            if other := owner.get(name.lower()):  # CLIP reads lower case
                of = "" if other.lower() == names[0].lower() else f", by '{other}' and '{names[0]}'"
                raise ValueError(f"the class name '{name}' is listed twice{of}: keep it once")
            owner[name.lower()] = names[0]
    if len(cleaned) < 2:
        raise ValueError(
            f"'{cleaned[0][0][:80]}' is the only class and every pixel would be it: name what else "
            f"the photos show, with ',' between the names"
        )
    if len(cleaned) > MOST:
        raise ValueError(f"there are {len(cleaned)} classes and {MOST} are the most: merge some")
    return cleaned


def in_other_scripts(classes: Classes) -> list[str]:
    """Names with letters that are not Latin.

    CLIP's tokenizer takes them apart into bytes, but its captions were English: it has not learned
    what they mean, and the masks would be noise.
    """
    return [
        name
        for names in classes
        for name in names
        if any(c.isalpha() and "LATIN" not in unicodedata.name(c, "") for c in name)
    ]
