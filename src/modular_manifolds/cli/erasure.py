"""`modular-manifolds erasure` as a person meets it: what it prints, and how it fails."""

from rich.console import Console
from rich.table import Table

from modular_manifolds.cli.conduct import conduct, print_as_is, print_paths
from modular_manifolds.experiments.data import load
from modular_manifolds.experiments.erasure.report import best_table, page
from modular_manifolds.experiments.erasure.study import Erasure, run_erasure
from modular_manifolds.experiments.reports import write_page
from modular_manifolds.experiments.study_display import StudyDisplay


def run_study(erasure: Erasure, console: Console) -> None:
    """Run it, showing progress."""
    with conduct(console, erasure.command()):
        with console.status(f"reading {erasure.data}"):
            data = load(erasure.data, erasure.data_dir)
        with StudyDisplay(console) as display:
            finished = run_erasure(erasure, data, display)
        with console.status("drawing the report"):
            report = page(finished)
            paths = {
                "results": erasure.results_path,
                "ranks": erasure.ranks_path,
                **write_page(report, erasure.out),
                "plots": erasure.out / "plots",
            }
    found = best_table(finished)
    table = Table(title=found.caption)
    for name in found.columns:
        table.add_column(name)
    for row in found.rows:
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)
    print_as_is(console, report.headline)
    print_paths(console, paths)
