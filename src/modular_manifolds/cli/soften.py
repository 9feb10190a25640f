"""`modular-manifolds soften` as a person meets it."""

from rich.console import Console

from modular_manifolds.cli.compare import Conclusion, run_comparison
from modular_manifolds.experiments.comparison import Finished
from modular_manifolds.experiments.softening import Softening, movements, write_movements
from modular_manifolds.experiments.softening_report import best_table, scan_table, write_report


def run_softening(softening: Softening, console: Console) -> None:
    """Run it, showing progress."""
    run_comparison(softening, console, conclude)


def conclude(finished: Finished) -> Conclusion:
    """Write the results and the report."""
    moved = movements(finished)
    write_movements(finished, moved)
    report = write_report(finished, moved)
    tables = [best_table(finished, moved), scan_table(finished, moved)]
    paths = {"results": finished.comparison.results_path, "plots": report.parent / "plots", "report": report}
    return Conclusion(tables, paths)
