"""A table: the paper's values and ours side by side, and what is said below it."""

from __future__ import annotations

from reclip.evaluate.results_table import Cell, content, ordered, printed, tidy


def cell(
    row: str, paper: float | None, values: dict | None, dataset: str = "voc", protocol: str = ""
) -> Cell:
    return Cell(row, {}, dataset, paper, row if values else None, values or {}, protocol)


def test_only_measured_cells_with_a_value_of_the_paper_are_ordered() -> None:
    """Dataset by dataset, in the order of the settings."""
    cells = [
        cell("a", 10.0, {0: 3.0}, "ade"),
        cell("a", 10.0, {0: 5.0}),
        cell("cited", 15.0, None),
        cell("new", None, {0: 1.0}),  # the paper does not have it
    ]
    found = ordered("table4", cells, ["voc", "ade"])
    assert [(one.row, one.dataset, one.paper) for one in found] == [
        ("a", "voc", 10.0), ("a", "ade", 10.0),
    ]  # fmt: skip


def test_the_verdicts_stand_below_the_table() -> None:
    cells = [
        cell("a", 10.0, {0: 5.0, 1: 5.1}), cell("b", 20.0, {0: 4.0, 1: 4.2}), cell("c", 10.0, None),
    ]  # fmt: skip
    text = printed(content("table4", "t", cells, ["voc", "ade"], "tiny"), ".md")
    assert text.endswith("\n\nReversed: voc: b over a -0.9 (-1.6 to -0.3).\n")


def test_a_row_measured_on_only_one_dataset_is_measured() -> None:
    cells = [cell("a", 10.0, None), cell("a", 20.0, {0: 4.0}, "ade"), cell("b", 1.0, None)]
    lines = printed(content("table2", "t", cells, ["voc", "ade"], "tiny"), ".md").splitlines()
    assert "| a | 10.0 |  | 20.0 | 4.0 | measured |" in lines
    assert "| b | 1.0 |  |  |  | cited |" in lines
    assert lines[-1] == "No two measured rows to put in order."


def test_csv_has_mean_spread_and_interval_over_the_seeds() -> None:
    cited, one, two = tidy(
        "t", [cell("c", 9.8, None), cell("a", 10.0, {0: 5.0}), cell("b", None, {0: 4.0, 1: 6.0})]
    )
    assert [cited[k] for k in ("paper", "ours", "seeds", "low")] == ["9.8", "", "", ""]
    assert [one[k] for k in ("ours", "sd", "seeds", "low", "high")] == ["5.00", "", "1", "", ""]
    assert [two[k] for k in ("ours", "sd", "seeds", "low", "high")] == [
        "5.00", "1.41", "2", "-7.71", "17.71",
    ]  # fmt: skip


def test_a_page_shows_names_as_they_are() -> None:
    table = {"title": "Table 4. A & B", "head": ["Method", "voc"], "rows": [["x<y", "1.0"]]}
    page = printed(table | {"notes": ["Holds."]}, ".html")
    assert "<b>Table 4. A &amp; B</b>" in page
    assert "<thead><tr><th>Method</th><th>voc</th></tr></thead>" in page
    assert "<tr><td>x&lt;y</td><td>1.0</td></tr>" in page
    assert "<p>Holds.</p>" in page
