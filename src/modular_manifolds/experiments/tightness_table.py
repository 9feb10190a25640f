"""The tables of a study of tightness, for the terminal and for a page."""

from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from statistics import median

from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.study_table import Text
from modular_manifolds.experiments.summary import Spread
from modular_manifolds.experiments.tightness import ROUNDING, Findings, Measured
from modular_manifolds.experiments.tightness_search import STRATEGIES


def by_family(findings: Findings) -> dict[str, dict[int, list[Measured]]]:
    """All seeds of every family and depth."""
    gathered: dict[str, dict[int, list[Measured]]] = {}
    for specimen, measured in findings.items():
        gathered.setdefault(specimen.family, {}).setdefault(specimen.depth, []).append(measured)
    return gathered


def ratio_table(findings: Findings) -> Text:
    """Bound over largest stretch found: the median of the seeds, and the range."""
    groups = by_family(findings)
    depths = _depths(findings)
    rows = [
        (family, *(_range(m.ratio for m in by_depth[depth]) if depth in by_depth else "" for depth in depths))
        for family, by_depth in groups.items()
    ]
    headings = ("network", *(f"depth {depth}" for depth in depths))
    return Text("proved bound / largest stretch found", headings, tuple(rows))


def detail_table(findings: Findings) -> Text:
    """Accuracy, bound and stretch of every family and depth: of bound and stretch the median of the seeds."""
    rates = {(specimen.family, specimen.depth): specimen.lr for specimen in findings}
    rows = []
    for family, by_depth in by_family(findings).items():
        for depth, measured in by_depth.items():
            lr = rates[family, depth]
            rows.append(
                (
                    family,
                    str(depth),
                    "" if lr is None else f"{lr:g}",
                    Spread.of(m.test_accuracy for m in measured).text(1),
                    _number(median(m.bound for m in measured)),
                    _number(median(m.stretch for m in measured)),
                    _number(median(m.ratio for m in measured)),
                )
            )
    headings = ("network", "depth", "lr", "test, %", "bound", "found", "ratio")
    return Text("Lipschitz constants in l2, over all inputs", headings, tuple(rows))


def search_table(findings: Findings) -> Text:
    """The largest stretch after every strategy of the search, as a share of the largest in the end."""
    rows = []
    for family, by_depth in by_family(findings).items():
        for depth, measured in by_depth.items():
            shares = [
                f"{100 * median(m.after[name] / m.stretch if m.stretch else 1.0 for m in measured):.1f}"
                for name in STRATEGIES
            ]
            rows.append((family, str(depth), *shares))
    headings = ("network", "depth", *STRATEGIES)
    return Text("largest stretch after each strategy of the search, in % of the final one", headings, tuple(rows))


def tables(findings: Findings) -> tuple[Text, Text, Text]:
    """All of them."""
    return ratio_table(findings), detail_table(findings), search_table(findings)


def exceeding(findings: Findings) -> int:
    """Measured stretches above the bound."""
    return sum(measured.exceeding for measured in findings.values())


def closing_lines(findings: Findings) -> list[str]:
    """What to know for reading the tables."""
    measurements = sum(measured.measurements for measured in findings.values())
    above = exceeding(findings)
    verdict = "none" if above == 0 else f"{above}: the bound is WRONG"
    return [
        f"{len(findings)} networks, {measurements:,} stretches; those above the bound by {ROUNDING:g}: {verdict}",
        "The true Lipschitz constant is between the largest stretch found and the bound: the ratio says how loose the "
        "bound can be at most.",
    ]


def write_markdown(findings: Findings, out: Path) -> Path:
    """The tables as tables.md."""
    path = out / "tables.md"
    parts = [f"{table.title}\n\n{table.markdown()}" for table in tables(findings)]
    write_atomically(path, "\n".join([*parts, "\n".join(closing_lines(findings)), ""]).encode())
    return path


def _depths(findings: Findings) -> list[int]:
    return sorted({specimen.depth for specimen in findings})


def _range(numbers: Iterable[float]) -> str:
    values = sorted(numbers)
    low, middle, high = _number(values[0]), _number(median(values)), _number(values[-1])
    return middle if low == high else f"{middle} ({low} to {high})"


def _number(value: float) -> str:
    """Three decimals near 1, where a ratio says most, and three digits elsewhere."""
    if not isfinite(value):
        return "no stretch found"
    if 0.1 <= value < 10:
        return f"{value:.3f}"
    return f"{value:,.0f}" if 100 <= value < 1e5 else f"{value:.3g}"
