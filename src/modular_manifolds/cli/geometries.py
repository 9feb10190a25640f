"""`modular-manifolds geometries` as a person meets it: what it prints, and how it fails."""

from rich.console import Console
from rich.markup import escape

from modular_manifolds.experiments.data import DataError, load
from modular_manifolds.experiments.study import Study, run_study
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.study_plot import write_plot
from modular_manifolds.experiments.study_table import accuracy_table, closing_lines, cost_table, write_markdown

_INTERRUPTED = 130


def run_geometries(study: Study, console: Console) -> int:
    """Run it, showing progress; the exit status."""
    try:
        with console.status(f"reading {study.data}"):
            data = load(study.data, study.data_dir)
        with StudyDisplay(console) as display:
            findings = run_study(study, data, display)
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
    for table in (accuracy_table(findings), cost_table(findings)):
        console.print(table.rich())
    for line in closing_lines(findings):
        console.print(line, markup=False, highlight=False)
    for name, path in paths.items():
        console.print(f"{name + ':':<8} {path}", markup=False, highlight=False, soft_wrap=True)
    return 0
