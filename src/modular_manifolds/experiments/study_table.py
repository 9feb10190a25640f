"""The tables of a study, for the terminal and for a page."""

from dataclasses import dataclass
from math import isnan
from pathlib import Path
from statistics import fmean

from rich.table import Table

from modular_manifolds.experiments.candidates import CANDIDATES, REFERENCE, REFERENCE_MULTIPLE
from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.study_findings import ALL, Cell, Findings, Layer

TOGETHER = "best of each layer"
PLAIN = f"{REFERENCE}, {REFERENCE_MULTIPLE:g} everywhere"


@dataclass(frozen=True)
class Text:
    """A table of strings, the first column a name. `strong` are the (row, column) to point out."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: frozenset[tuple[int, int]] = frozenset()

    def rich(self) -> Table:
        """For a terminal."""
        table = Table(title=self.title)
        for i, column in enumerate(self.columns):
            table.add_column(column, justify="right" if i else "left", no_wrap=i == 0)
        for i, row in enumerate(self.rows):
            table.add_row(*(f"[bold]{cell}[/]" if (i, j) in self.strong else cell for j, cell in enumerate(row)))
        return table

    def markdown(self) -> str:
        """For a page."""
        lines = ["| " + " | ".join(self.columns) + " |", "|---" * len(self.columns) + "|"]
        for i, row in enumerate(self.rows):
            cells = (f"**{cell}**" if (i, j) in self.strong else cell for j, cell in enumerate(row))
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"


def accuracy_table(findings: Findings) -> Text:
    """Test accuracy and learning rate of every cell. Strong: the best of a column, and all within noise of it."""
    names = findings.candidates
    rows = [(name, *(_accuracy(findings.cells[layer, name], layer) for layer in findings.layers)) for name in names]
    blank = ("",) * (len(findings.layers) - 1)
    rows.append((TOGETHER, *blank, _accuracy(findings.together, ALL)))
    rows.append((PLAIN, *blank, _accuracy(findings.reference, ALL)))
    strong = set()
    for j, layer in enumerate(findings.layers, start=1):
        means = {i: findings.cells[layer, name].test_accuracy.mean for i, name in enumerate(names)}
        if layer == ALL:
            means |= {
                len(names): findings.together.test_accuracy.mean,
                len(names) + 1: findings.reference.test_accuracy.mean,
            }
        best = max((mean for mean in means.values() if not isnan(mean)), default=0.0)
        noise = findings.noise(layer)
        strong |= {(i, j) for i, mean in means.items() if mean >= best - (0 if isnan(noise) else noise)}
    headings = ("manifold x norm", *(findings.heading(layer) for layer in findings.layers))
    return Text(
        "test accuracy in %, with the multiple of the natural learning rate", headings, tuple(rows), frozenset(strong)
    )


def cost_table(findings: Findings) -> Text:
    """What a geometry costs, and what it takes away."""
    rows = []
    for name in findings.candidates:
        cells = [findings.cells[layer, name] for layer in findings.layers]
        removed = [f"{100 * CANDIDATES[name].removed(*shape):.1f}" for shape in findings.shapes]
        violation = max(outcome.violation for outcome in cells[-1].outcomes)
        rows.append((name, *(f"{_milliseconds(cell):.3g}" for cell in cells), ", ".join(removed), f"{violation:.0e}"))
    headings = (
        "manifold x norm",
        *(f"ms, {layer if isinstance(layer, str) else f'layer {layer + 1}'}" for layer in findings.layers),
        "degrees of freedom removed, %",
        "violation",
    )
    return Text("processor time of an optimizer step, and what the constraint takes away", headings, tuple(rows))


def closing_lines(findings: Findings) -> list[str]:
    """What to know for reading the tables."""
    together = "; ".join(
        f"{findings.heading(layer)}: {choice.geometry} at {choice.multiple:g}"
        for layer, choice in enumerate(findings.together.choices)
    )
    difference = findings.together.test_accuracy.mean - findings.reference.test_accuracy.mean
    lines = [f"best of each layer, by held-out images: {together}"]
    lines.append(f"together, {difference:+.2f} points of test accuracy against {PLAIN}")
    if len(findings.reference.outcomes) > 1:
        noise = ", ".join(f"{findings.noise(layer):.2f} ({findings.heading(layer)})" for layer in findings.layers)
        lines.append(f"noise, two standard errors of a difference in test accuracy: {noise}")
    return lines


def write_markdown(findings: Findings, out: Path) -> Path:
    """The tables as tables.md."""
    path = out / "tables.md"
    parts = [accuracy_table(findings).markdown(), cost_table(findings).markdown(), "\n".join(closing_lines(findings))]
    write_atomically(path, "\n".join([*parts, ""]).encode())
    return path


def _accuracy(cell: Cell, layer: Layer) -> str:
    text = cell.test_accuracy.text(2)
    multiples = [cell.choices[layer].multiple] if isinstance(layer, int) else [c.multiple for c in cell.choices]
    return f"{text} @ {', '.join(f'{multiple:g}' for multiple in multiples)}"


def _milliseconds(cell: Cell) -> float:
    return fmean(outcome.step_milliseconds for outcome in cell.outcomes)
