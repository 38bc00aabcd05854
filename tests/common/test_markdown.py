"""Any name is shown as it is, in Markdown and its tables."""

from __future__ import annotations

import pytest

from reclip.common.markdown import code, md

MarkdownIt = pytest.importorskip("markdown_it").MarkdownIt

NAMES = [
    "A$$AP", "a|b", "*bold*", "`tick`", "``", "<b>x</b>", "[link](x)", "50% off", "tv_monitor",
    "_x_", "~~gone~~", "&lt;", "back\\slash", "R&B", "\\|", "ends with `", "$E=mc^2$",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_a_table_or_a_sentence_is_shown_as_it_is(name: str) -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    table = f"| class | n |\n| --- | --- |\n| {md(name)} | 1 |\n"
    for text in (table, f"- {md(name)} was found\n"):
        shown = [
            "".join(c.content for c in token.children)
            for token in parser.parse(text)
            if token.type == "inline"
        ]
        kinds = {c.type for t in parser.parse(text) for c in t.children or []}
        assert any(name in cell for cell in shown), (text, shown)
        assert kinds == {"text"} or kinds == {"text", "text_special"}, kinds


@pytest.mark.parametrize("name", NAMES)
def test_a_path_in_a_code_span_is_shown_as_it_is(name: str) -> None:
    (token,) = (t for t in MarkdownIt().parse(f"- {code(name)}\n") if t.type == "inline")
    (span,) = token.children
    assert (span.type, span.content) == ("code_inline", name)


def test_plain_names_stay_readable() -> None:
    for name in ("tv/monitor", "dining-table", "voc_ref", "rock 'n' roll (live)", "R&B"):
        assert md(name) == name
