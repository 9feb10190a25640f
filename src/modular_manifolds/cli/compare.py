"""`modular-manifolds compare` as a person meets it: what it prints, and how it fails."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from modular_manifolds.cli.conduct import conduct, print_paths
from modular_manifolds.experiments.comparison import Comparison, Finished, train_all
from modular_manifolds.experiments.comparison_report import write_report
from modular_manifolds.experiments.data import load
from modular_manifolds.experiments.display import best_table, open_display


class Conclusion(NamedTuple):
    """What to print at the end: tables, and where things were written, by what they are."""

    tables: list[Table]
    paths: dict[str, Path]


def report(finished: Finished) -> Conclusion:
    """Write the report of a comparison of methods."""
    paths = {"results": finished.comparison.results_path, "report": write_report(finished)}
    return Conclusion([best_table(list(finished.results.values()))], paths)


def run_comparison(
    comparison: Comparison, console: Console, conclude: Callable[[Finished], Conclusion] = report
) -> None:
    """Run it, showing progress."""
    with conduct(console, comparison.command()):
        with console.status(f"reading {comparison.data}"):
            data = load(comparison.data, comparison.data_dir)
        with open_display(console) as display:
            finished = train_all(comparison, data, display)
        with console.status("drawing the report"):
            tables, paths = conclude(finished)
    for table in tables:
        console.print(table)
    print_paths(console, paths)
