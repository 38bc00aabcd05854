"""Recognise lists of classes that hold more than names: numbers, headings, colours, JSON or YAML.

Taken as names, their numbers and marks would become part of CLIP's prompts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# A heading consists of such words, one of them of the first kind.
HEADING = re.findall(
    r"\S+", "id ids name names class classes label labels category categories classname"
)
BESIDE = re.findall(
    r"\S+", "index idx number no num value color colour red green blue rgb r g b synonyms"
)

ALONE = re.compile(r"[-+]?\d+(\.\d+)?")
NUMBERED = re.compile(r"\d+\s*[:)\]]|\d+\.\s|\d+\s+-\s|.*:\s*\d+$")  # one such entry is enough
LEADING = re.compile(r"(?P<number>\d+)(?:\s*-\s*|\s+)(?P<name>\S.*)")
TRAILING = re.compile(r"(?P<name>.*\S)(?:\s*-\s*|\s+)\(?(?P<number>\d+)\)?")
COLOUR = re.compile(r".*\D\s+\d{1,3}\s+\d{1,3}\s+\d{1,3}$")
SYNSET = re.compile(r"n\d{8}\b")
MARKS = (";", ":", "\t", '"', "[", "]", "{", "}", "<", ">")


def more_than_names(lines: Sequence[str]) -> str | None:
    """Return what is in the lines besides names, in words; None if they hold only names.

    Numbers that belong to names pass: `3d printer`, `Boeing 747`, `2 wheeler` and `4 wheeler`.

    lines: without comments and blanks at their ends, none empty.
    """
    entries = [(entry.strip(), line) for line in lines for entry in line.split(",")]
    for entry, line in entries:
        if odd := _odd(entry):
            return f"{line[:80]!r} holds {odd}"
    if len(lines) > 1:
        words = re.findall(r"[^\W_]+", lines[0].lower())
        if set(words) <= {*HEADING, *BESIDE} and not set(words).isdisjoint(HEADING):
            return f"{lines[0][:80]!r} looks like a heading"
    if any(_count_up([entry for entry, _ in entries], form) for form in (LEADING, TRAILING)):
        return f"{lines[0][:80]!r} holds a number beside a name"
    return None


def _odd(entry: str) -> str | None:
    """Return what is odd in one entry of a list, in words."""
    if any(ALONE.fullmatch(word.strip()) for word in re.split("[=|]", entry)):
        return "a number instead of a name"
    if NUMBERED.match(entry):
        return "a number beside a name"
    if COLOUR.match(entry):
        return "a colour"
    if SYNSET.match(entry):
        return "the number of a WordNet synset"
    if mark := next((mark for mark in MARKS if mark in entry), None):
        return f"the mark {mark!r}"
    if entry and not (entry[0].isalnum() or entry[0] in "=|"):
        return f"the mark {entry[0]!r} before a name"
    return None


def _count_up(entries: Sequence[str], form: re.Pattern[str]) -> bool:
    """Return whether every entry has a number, these count up, and the names beside them differ.

    A list of only two entries must also begin with 0 or 1: `Boeing 737, Boeing 747` are names.
    """
    found = [form.fullmatch(entry) for entry in entries]
    if len(found) < 2 or not all(found):
        return False
    numbers = [int(match["number"]) for match in found]
    names = {match["name"].lower() for match in found}
    rising = numbers == sorted(set(numbers))
    return rising and len(names) == len(found) and (len(found) > 2 or numbers[0] < 2)
