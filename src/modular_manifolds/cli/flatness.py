"""`modular-manifolds flatness` as a person meets it: what it prints, and how it fails."""

from rich import box
from rich.console import Console

from modular_manifolds.cli.conduct import conduct, print_as_is, print_paths
from modular_manifolds.experiments.data import DataName, load
from modular_manifolds.experiments.flatness.display import FlatnessDisplay
from modular_manifolds.experiments.flatness.report import flatness_table, headline, write_report
from modular_manifolds.experiments.flatness.study import Flatness, measure_all
from modular_manifolds.experiments.robustness_runs import best_runs


def run_flatness(flatness: Flatness, console: Console) -> None:
    """Run it, showing progress."""
    with conduct(console, flatness.command()):
        runs = best_runs(flatness.folders)
        name = DataName(runs[0].run.data)
        with console.status(f"reading {name}"):
            data = load(name, flatness.data_dir if name is DataName.CIFAR10 else None)
        with FlatnessDisplay(console) as display:
            measured = measure_all(flatness, data, runs, display)
        images = min(flatness.images, len(data.train))
        paths = {"results": flatness.results_path, **write_report(flatness, measured, str(name), images)}
    table = flatness_table(measured).rich()
    table.box, table.pad_edge, table.show_edge = box.SIMPLE_HEAD, False, False  # fits 80 columns
    console.print(table)
    print_as_is(console, headline(measured))
    print_paths(console, paths)
