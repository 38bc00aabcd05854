"""A table's Markdown as a page for the report, which shows HTML but only links to Markdown."""

from __future__ import annotations

import re
from html import escape

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: .3em .8em; text-align: left; border-bottom: 1px solid #ddd; }
td:first-child { white-space: nowrap; }
thead th { border-bottom: 2px solid #222; }
"""


def html_page(markdown: str) -> str:
    """A whole page from paragraphs, **bold** and pipe tables: all that our tables are made of."""
    blocks = []
    for block in markdown.strip().split("\n\n"):
        lines = block.splitlines()
        if lines[0].startswith("|"):
            head, _, *body = ([_inline(c) for c in line[1:-1].split("|")] for line in lines)
            rows = "\n".join(_row("td", cells) for cells in body)
            blocks.append(
                f"<table>\n<thead>{_row('th', head)}</thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
            )
        else:
            blocks.append(f"<p>{_inline(' '.join(lines))}</p>")
    content = "\n".join(blocks)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><style>{_STYLE}</style>'
        f"</head>\n<body>\n{content}\n</body></html>\n"
    )


def _row(cell: str, values: list[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{value}</{cell}>" for value in values) + "</tr>"


def _inline(text: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text.strip()))
