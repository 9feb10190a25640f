"""`modular-manifolds transfer` as a person meets it: what it prints, and how it fails."""

from rich.console import Console
from rich.markup import escape

from modular_manifolds.experiments.data import DataError
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.transfer import Transfer, load_task, run_transfer
from modular_manifolds.experiments.transfer_plot import write_plot
from modular_manifolds.experiments.transfer_table import tables, write_markdown

_INTERRUPTED = 130


def run_study(study: Transfer, console: Console) -> int:
    """Run it, showing progress; the exit status."""
    try:
        with console.status(f"reading {study.data}"):
            task = load_task(study)
        with StudyDisplay(console) as display:
            findings = run_transfer(study, task, display)
        paths = {
            "results": study.results_path,
            "tables": write_markdown(findings, study.out),
            **write_plot(findings, study.out),
        }
    except (DataError, OSError) as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print(f"\nStopped; nothing is lost. To carry on:\n    {escape(study.command())}", soft_wrap=True)
        return _INTERRUPTED
    for table in tables(findings):
        console.print(table.rich())
    for name, path in paths.items():
        console.print(f"{name + ':':<8} {path}", markup=False, highlight=False, soft_wrap=True)
    return 0
