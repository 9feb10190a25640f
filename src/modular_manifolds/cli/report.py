"""`modular-manifolds report` as a person meets it: what it prints, and how it fails."""

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from modular_manifolds.cli.conduct import FAILED, print_error, print_paths
from modular_manifolds.experiments.data import DataError
from modular_manifolds.experiments.reports import find_runs, write_joined


def run_report(folders: Sequence[Path], out: Path, console: Console) -> None:
    """Join the reports; exit status 1 if there are none."""
    try:
        runs = find_runs(folders)
        write_joined(runs, out)
    except (DataError, OSError) as error:
        print_error(console, error)
        raise typer.Exit(FAILED) from error
    for run in runs:
        print_paths(console, {"run": run})
    print_paths(console, {"report": out})
