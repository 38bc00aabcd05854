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


# ---------------------------------------------------------------- published numbers and pairs


def strong(row: str, values: dict | None, paper: float | None = None, **more) -> Cell:
    return Cell(row, {}, "voc", paper, row if values else None, values or {}, "whole", **more)


def test_sources_of_published_numbers_have_columns_of_their_own() -> None:
    cells = [
        strong("A", {0: 5.0}, 81.5, published_in="SCLIP, Table 2", published_protocol="224/112"),
        strong("A + R", {0: 6.0}),
    ]
    found = content("strong", "t", cells, ["voc"], "tiny")
    assert found["head"] == [
        "Method", "voc, published", "voc, tiny", "published in", "protocol there", "source",
    ]  # fmt: skip
    assert found["rows"] == [
        ["A", "81.5", "5.0", "SCLIP, Table 2", "224/112", "measured (whole)"],
        ["A + R", "", "6.0", "", "", "measured (whole)"],
    ]


def test_a_table_that_asks_about_pairs_has_verdicts_on_them_alone() -> None:
    """Not on the order of published numbers, which were measured in several ways."""
    low = {0: 1.0, 1: 2.0, 2: 3.0}
    high = {seed: value + 4 + seed / 10 for seed, value in low.items()}
    cells = [
        strong("A", low, 80.0),
        strong("A + R", high, over=("A",)),
        strong("B", high, 70.0),
        strong("B + R", low, over=("B",)),
        strong("C + R", {0: 1.0, 1: 2.5, 2: 2.0}, over=("A",)),
    ]
    notes = content("strong", "t", cells, ["voc"], "tiny")["notes"]
    assert notes[0].startswith(
        "Of 3 pairs, the first row is better in 1 and worse in 1; 1 is undecided."
    )
    assert notes[1].startswith("Better: voc: A + R over A 4.1 (3.9 to 4.3).")
    assert notes[2].startswith("Worse: voc: B + R over B -4.1")
    assert notes[3].startswith("Undecided: voc: C + R over A -0.2")
    assert ordered("strong", cells, ["voc"]) == []
    one_seed = [strong("A", {0: 1.0}), strong("A + R", {0: 2.0}, over=("A",))]
    (note,) = content("strong", "t", one_seed, ["voc"], "tiny")["notes"]
    assert "better in 1 here, on one seed: not a verdict" in note
