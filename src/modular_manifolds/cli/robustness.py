"""`modular-manifolds robustness` as a person meets it: what it prints, and how it fails."""

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from modular_manifolds.cli.conduct import CONTRADICTED, conduct, print_as_is, print_paths
from modular_manifolds.experiments.data import DataName, load
from modular_manifolds.experiments.robustness import Measured, Robustness, measure_all
from modular_manifolds.experiments.robustness_report import write_report
from modular_manifolds.experiments.robustness_runs import best_runs
from modular_manifolds.experiments.robustness_table import closing_lines, robustness_table


def run_robustness(robustness: Robustness, console: Console) -> None:
    """Run it, showing progress; exit status 3 if an attack contradicts a certificate."""
    with conduct(console, robustness.command(), stopped="nothing is written. Again"):
        runs = best_runs(robustness.folders)
        name = DataName(runs[0].run.data)
        with console.status(f"reading {name}"):
            data = load(name, robustness.data_dir if name is DataName.CIFAR10 else None)
        with _bar(console) as bar:
            task = bar.add_task("attacking", total=robustness.attack_steps(len(runs)))

            def finished(measured: Measured) -> None:
                bar.print(
                    f"{measured.method} lr {measured.lr:g} seed {measured.seed}: Lipschitz constant "
                    f"{measured.lipschitz:.4g}, accuracy {measured.accuracy:.2f} %",
                    highlight=False,
                )

            measured = measure_all(robustness, data, runs, finished, lambda: bar.advance(task))
        paths = {"results": robustness.results_path, **write_report(robustness, data, measured)}
    table = robustness_table(measured).rich()
    table.box, table.pad_edge, table.show_edge = box.SIMPLE_HEAD, False, False  # fits 80 columns
    console.print(table)
    for line in closing_lines(measured, min(robustness.images, len(data.test)), len(data.test)):
        print_as_is(console, line)
    print_paths(console, paths)
    if any(each.flips for each in measured):
        raise typer.Exit(CONTRADICTED)


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
