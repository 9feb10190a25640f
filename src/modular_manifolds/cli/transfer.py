"""`modular-manifolds transfer` as a person meets it: what it prints, and how it fails."""

from rich.console import Console

from modular_manifolds.cli.conduct import conduct, print_paths
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.transfer import Transfer, load_task, run_transfer
from modular_manifolds.experiments.transfer_report import write_report
from modular_manifolds.experiments.transfer_table import tables, write_markdown


def run_study(study: Transfer, console: Console) -> None:
    """Run it, showing progress."""
    with conduct(console, study.command()):
        with console.status(f"reading {study.data}"):
            task = load_task(study)
        with StudyDisplay(console) as display:
            findings = run_transfer(study, task, display)
        paths = {
            "results": study.results_path,
            "tables": write_markdown(findings, study.out),
            **write_report(study, task, findings),
        }
    for table in tables(findings):
        console.print(table.rich())
    print_paths(console, paths)
