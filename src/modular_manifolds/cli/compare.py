"""`modular-manifolds compare` as a person meets it: what it prints, and how it fails."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from modular_manifolds.experiments.comparison import Comparison, Finished, train_all
from modular_manifolds.experiments.data import DataError, load
from modular_manifolds.experiments.display import best_table, open_display
from modular_manifolds.experiments.report import write_report

_INTERRUPTED = 130


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
) -> int:
    """Run it, showing progress; the exit status."""
    try:
        with console.status(f"reading {comparison.data}"):
            data = load(comparison.data, comparison.data_dir)
        with open_display(console) as display:
            finished = train_all(comparison, data, display)
        with console.status("drawing the report"):
            tables, paths = conclude(finished)
    except (DataError, OSError) as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print(f"\nStopped; nothing is lost. To carry on:\n    {escape(comparison.command())}", soft_wrap=True)
        return _INTERRUPTED
    for table in tables:
        console.print(table)
    for name, path in paths.items():
        console.print(f"{name + ':':<8} {path}", markup=False, highlight=False, soft_wrap=True)
    return 0
