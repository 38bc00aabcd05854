"""Names and paths in Markdown: shown as they are, whatever characters they hold."""

from __future__ import annotations

import re

_MARKS = re.compile(r"[\\`*\[\]<>|$~]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
"""Characters with a meaning in Markdown, in its tables, or in GitHub's formulas. An underscore
between letters or digits has none."""


def md(text: str) -> str:
    """Return `text` on one line, so that Markdown shows it as it is."""
    return _escaped(" ".join(text.split()))


def prose(text: str) -> str:
    """Return a sentence on one line: between backticks it is code, elsewhere shown as it is."""
    text = " ".join(text.split())
    parts = text.split("`")
    if len(parts) % 2 == 0 or not all(part.strip() for part in parts[1::2]):
        return _escaped(text)  # not all backticks are around code
    return "".join(code(part) if k % 2 else _escaped(part) for k, part in enumerate(parts))


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\g<0>", text)


def code(text: str) -> str:
    """Return `text` on one line as a code span, also if it holds backticks."""
    text = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    edge = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{edge}{text}{edge}{fence}"
