"""`modular-manifolds compare` as a person meets it: what it prints, and how it fails."""

from rich.console import Console
from rich.markup import escape

from modular_manifolds.experiments.comparison import Comparison, train_all
from modular_manifolds.experiments.data import DataError, load
from modular_manifolds.experiments.display import best_table, open_display
from modular_manifolds.experiments.report import write_report

_INTERRUPTED = 130


def run_comparison(comparison: Comparison, console: Console) -> int:
    """Run it, showing progress; the exit status."""
    try:
        with console.status(f"reading {comparison.data}"):
            data = load(comparison.data, comparison.data_dir)
        with open_display(console) as display:
            finished = train_all(comparison, data, display)
        with console.status("drawing the report"):
            report = write_report(finished)
    except (DataError, OSError) as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print(f"\nStopped; nothing is lost. To carry on:\n    {escape(comparison.command())}", soft_wrap=True)
        return _INTERRUPTED
    console.print(best_table(list(finished.results.values())))
    console.print(
        f"results: {comparison.results_path}\nreport:  {report}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return 0
