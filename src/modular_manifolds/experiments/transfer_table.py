"""The tables of a transfer study, for the terminal and for a page."""

from math import isfinite, isnan, log2
from pathlib import Path

from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.study_table import Text
from modular_manifolds.experiments.transfer_findings import Curve, Family, Findings
from modular_manifolds.experiments.transfer_trial import Sweep


def tables(findings: Findings) -> list[Text]:
    """A table for every sweep."""
    return [_table(findings, sweep) for sweep in findings.sweeps]


def write_markdown(findings: Findings, out: Path) -> Path:
    """The tables as tables.md."""
    path = out / "tables.md"
    parts = [f"{table.title}\n\n{table.markdown()}" for table in tables(findings)]
    write_atomically(path, "\n".join(parts).encode())
    return path


def _table(findings: Findings, sweep: Sweep) -> Text:
    families = {method: findings.families[sweep, method] for method in findings.methods}
    sizes = list(next(iter(families.values())).curves)
    rows = [
        (
            method,
            *map(_cell, family.curves.values()),
            f"{2**family.shift}x",
            f"{2**family.shift_by_test}x",
            _price(family),
        )
        for method, family in families.items()
    ]
    headings = (str(sweep), *map(str, sizes), "moves", "by test loss", f"{sizes[0]}'s rate at {sizes[-1]}")
    title = f"{findings.title}: best learning rate and its training loss by {sweep}; loss added by keeping the first"
    return Text(title, headings, tuple(rows))


def _cell(curve: Curve) -> str:
    best = f"2^{log2(curve.best):g}: {curve.train_loss(curve.best):.4f}"
    return best if curve.inside else f"{best} (at the end of those tried)"


def _price(family: Family) -> str:
    if isnan(family.price):
        return "not tried"
    return f"{family.price:+.4f}" if isfinite(family.price) else "diverges"
