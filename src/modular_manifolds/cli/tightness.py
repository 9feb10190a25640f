"""`modular-manifolds tightness` as a person meets it: what it prints, and how it fails."""

import typer
from rich import box
from rich.console import Console

from modular_manifolds.cli.conduct import CONTRADICTED, conduct, print_as_is, print_paths
from modular_manifolds.experiments.data import load
from modular_manifolds.experiments.tightness import Tightness, run_tightness
from modular_manifolds.experiments.tightness_display import TightnessDisplay
from modular_manifolds.experiments.tightness_report import write_report
from modular_manifolds.experiments.tightness_table import (
    closing_lines,
    detail_table,
    exceeding,
    ratio_table,
    write_markdown,
)


def run_study(study: Tightness, console: Console) -> None:
    """Run it, showing progress; exit status 3 if a measured stretch contradicts a bound."""
    with conduct(console, study.command()):
        with console.status(f"reading {study.data}"):
            data = load(study.data, study.data_dir)
        with TightnessDisplay(console) as display:
            findings = run_tightness(study, data, display)
        paths = {
            "results": study.results_path,
            "tables": write_markdown(findings, study.out),
            **write_report(study, data, findings),
        }
    for text in (detail_table(findings), ratio_table(findings)):
        table = text.rich()
        table.box, table.pad_edge, table.show_edge, table.collapse_padding = box.SIMPLE_HEAD, False, False, True
        console.print(table)
    for line in closing_lines(findings):
        print_as_is(console, line)
    print_paths(console, paths)
    if exceeding(findings):
        raise typer.Exit(CONTRADICTED)
