"""`modular-manifolds tightness` as a person meets it: what it prints, and how it fails."""

from rich import box
from rich.console import Console
from rich.markup import escape

from modular_manifolds.experiments.data import DataError, load
from modular_manifolds.experiments.robustness_runs import RunsError
from modular_manifolds.experiments.tightness import Tightness, run_tightness
from modular_manifolds.experiments.tightness_display import TightnessDisplay
from modular_manifolds.experiments.tightness_plot import write_plot
from modular_manifolds.experiments.tightness_table import (
    closing_lines,
    detail_table,
    exceeding,
    ratio_table,
    write_markdown,
)

_INTERRUPTED = 130
_CONTRADICTED = 3


def run_study(study: Tightness, console: Console) -> int:
    """Run it, showing progress; the exit status: 3 if a measured stretch contradicts a bound."""
    try:
        with console.status(f"reading {study.data}"):
            data = load(study.data, study.data_dir)
        with TightnessDisplay(console) as display:
            findings = run_tightness(study, data, display)
        paths = {
            "results": study.results_path,
            "tables": write_markdown(findings, study.out),
            **write_plot(findings, study.out),
        }
    except (DataError, RunsError, OSError) as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print(f"\nStopped; nothing is lost. To carry on:\n    {escape(study.command())}", soft_wrap=True)
        return _INTERRUPTED
    for text in (detail_table(findings), ratio_table(findings)):
        table = text.rich()
        table.box, table.pad_edge, table.show_edge, table.collapse_padding = box.SIMPLE_HEAD, False, False, True
        console.print(table)
    for line in closing_lines(findings):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for name, path in paths.items():
        console.print(f"{name + ':':<8} {path}", markup=False, highlight=False, soft_wrap=True)
    return _CONTRADICTED if exceeding(findings) else 0
