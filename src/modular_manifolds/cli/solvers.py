"""`modular-manifolds solvers` as a person meets it: what it prints, and how it fails."""

from rich.console import Console
from rich.table import Table

from modular_manifolds.cli.conduct import conduct, print_as_is, print_paths
from modular_manifolds.experiments.data import load
from modular_manifolds.experiments.reports import write_page
from modular_manifolds.experiments.solvers.findings import Findings
from modular_manifolds.experiments.solvers.report import own_best, page
from modular_manifolds.experiments.solvers.study import SolverStudy, run_solvers
from modular_manifolds.experiments.study_display import StudyDisplay


def run_study(study: SolverStudy, console: Console) -> None:
    """Run it, showing progress."""
    with conduct(console, study.command()):
        with console.status(f"reading {study.data}"):
            data = load(study.data, study.data_dir)
        with StudyDisplay(console) as display:
            findings = Findings.of(run_solvers(study, data, display))
        with console.status("drawing the report"):
            report = page(study, data, findings)
            paths = {"results": study.results_path, **write_page(report, study.out), "plots": study.out / "plots"}
    found = own_best(findings)
    table = Table(title="every solver at its own best learning rate")
    for name in found.columns:
        table.add_column(name)
    for row in found.rows:
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)
    print_as_is(console, report.headline)
    print_paths(console, paths)
