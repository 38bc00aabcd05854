"""The table of a machine in Markdown: description, limits, a row a stage, reasons below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from speed.limits import FLOATS
from speed.measure import Row
from speed.reasons import ENOUGH, reason

HEADER = (
    "stage", "size", "precision", "batch", "plain", "reclip", "times faster", "limit",
    "share of limit", "difference", "turns",
)  # fmt: skip
LEFT = 3  # columns that are words


def document(report: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Return the file of a machine: a title, then `body`.

    report: as `benchmarks/bench.py` writes it to JSON.
    """
    return f"# Speed on {report['machine']['name']}\n\n{body(report, rows)}"


def body(report: Mapping[str, Any], rows: Sequence[Row]) -> str:
    machine = report["machine"]
    rough = "Measured in a hurry (`--quick`): the figures are rough." if report["quick"] else ""
    parts = [
        described(machine),
        rough,
        limits(report["limits"]),
        "\n".join(lines(rows, machine["device"])),
        "\n".join(side_by_side(report["side_by_side"])),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def described(machine: Mapping[str, Any]) -> str:
    where = f"{machine['name']}, {machine['cores']} cores, {machine['threads']} used"
    if machine["device"] == "cuda":
        where = (
            f"{machine['name']} ({machine['gpu_memory_gib']} GiB, CUDA {machine['cuda']}), "
            f"host {machine['processor']}"
        )
    return f"{where}. torch {machine['torch']}; {machine['precisions']}. {machine['date']}."


def limits(rates: Mapping[str, float]) -> str:
    """Return the machine's limits in a sentence."""
    kinds = (("matmul", "matrix products"), ("conv", "convolutions"))
    said = [
        f"{what} {' and '.join(_flops(rates[f'{kind} {p}']) + ' in ' + p for p in FLOATS)}"
        for kind, what in kinds
    ]
    return f"Its limits: {'; '.join(said)}; copies {rates['copied'] / 1e9:.3g} GB/s."


def _flops(rate: float) -> str:
    return f"{rate / 1e12:.3g} TFLOP/s" if rate >= 1e12 else f"{rate / 1e9:.3g} GFLOP/s"


def lines(rows: Sequence[Row], device: str) -> list[str]:
    """Return the lines of the table; a share under ENOUGH has the number of its reason."""
    reasons: dict[str, int] = {}
    table = [_line(HEADER), _line(["---"] * LEFT + ["--:"] * (len(HEADER) - LEFT))]
    for row in rows:
        why = reason(row, device)
        mark = ""
        if why is None:
            mark = " (no reason)"
        elif why:
            mark = f" ({reasons.setdefault(why, len(reasons) + 1)})"
        table.append(_line(_cells(row, mark)))
    if reasons:
        table += ["", f"Why less than {ENOUGH:.0%} of the limit:", ""]
        table += [f"{number}. {why}" for why, number in reasons.items()]
    return table


def _cells(row: Row, mark: str) -> list[str]:
    return [
        row.stage,
        row.size,
        row.precision,
        str(row.batch),
        f"{duration(row.plain)} a {row.unit}",
        f"{duration(row.ours)} a {row.unit}",
        f"{row.ratio:.2g}" if row.ratio < 10 else f"{row.ratio:.0f}",
        duration(row.limit),
        f"{row.share:.0%}{mark}" if row.share >= 0.01 else f"{100 * row.share:.1g}%{mark}",
        f"{row.difference:.1g}",
        str(row.turns),
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def duration(seconds: float) -> str:
    """Return seconds with three digits, in the unit that suits them."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def side_by_side(found: Mapping[str, Any] | str) -> list[str]:
    """Return the table of jobs that share a GPU, or why there is none."""
    if isinstance(found, str):
        return [f"Jobs side by side: {found}."]
    one = found["1"]
    return [
        "Jobs of rectification side by side on the GPU (`compute.jobs_per_gpu`):",
        "",
        _line(["jobs", "steps a second, together", "times one job"]),
        _line(["--:"] * 3),
        *(_line([jobs, f"{rate:.1f}", f"{rate / one:.2f}"]) for jobs, rate in found.items()),
    ]
