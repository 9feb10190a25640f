"""`modular-manifolds sweep` as a person meets it: what it prints, and how it fails."""

from typing import Any

import typer
from rich.console import Console

from modular_manifolds.cli.conduct import conduct, print_paths
from modular_manifolds.experiments.reports import write_page
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.sweep.report import best_table, page_of
from modular_manifolds.experiments.sweep.study import Sweep, load_data, run_sweep


def run_study(sweep: Sweep, console: Console) -> None:
    """Run it, showing progress."""
    with conduct(console, sweep.command()):
        with console.status(f"reading {sweep.data}"):
            data = load_data(sweep)
        course: Any = sweep.course  # that of the data
        if course.warmup >= course.steps_of(data):
            raise typer.BadParameter(
                f"{course.warmup} steps leave none of {course.steps_of(data)} to train", param_hint="--warmup"
            )
        with StudyDisplay(console) as display:
            findings = run_sweep(sweep, data, display)
        with console.status("drawing the report"):
            paths = {"results": sweep.results_path, **write_page(page_of(sweep, data, findings), sweep.out)}
    console.print(best_table(findings))
    print_paths(console, paths)
