"""`modular-manifolds geometries` as a person meets it: what it prints, and how it fails."""

from rich.console import Console

from modular_manifolds.cli.conduct import conduct, print_paths
from modular_manifolds.experiments.data import load
from modular_manifolds.experiments.study import Study, run_study
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.study_report import write_report
from modular_manifolds.experiments.study_table import accuracy_table, closing_lines, cost_table, write_markdown


def run_geometries(study: Study, console: Console) -> None:
    """Run it, showing progress."""
    with conduct(console, study.command()):
        with console.status(f"reading {study.data}"):
            data = load(study.data, study.data_dir)
        with StudyDisplay(console) as display:
            findings = run_study(study, data, display)
        paths = {
            "results": study.results_path,
            "tables": write_markdown(findings, study.out),
            **write_report(study, data, findings),
        }
    for table in (accuracy_table(findings), cost_table(findings)):
        console.print(table.rich())
    for line in closing_lines(findings):
        console.print(line, markup=False, highlight=False)
    print_paths(console, paths)
