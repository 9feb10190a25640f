"""The options of `modular-manifolds`, and their checks."""

import math
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from modular_manifolds.experiments.data import DataName
from modular_manifolds.experiments.defaults import DEFAULTS
from modular_manifolds.experiments.methods import METHODS

Number = TypeVar("Number", int, float)

app = typer.Typer(
    name="modular-manifolds",
    help="Train neural networks with every weight on a manifold.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
)

_EPILOG = """
Examples:

    [bold]modular-manifolds compare[/]

    [bold]modular-manifolds compare --data cifar10 --methods manifold-muon,muon --lrs 0.03,0.1 --seeds 3[/]

Stopped half-way? The same command with the same --out carries on.
"""


def _by_data(setting: str) -> str:
    """For a help text: the default of `setting` on every data set."""
    values = {name: getattr(defaults, setting) for name, defaults in DEFAULTS.items()}
    shown = {name: ",".join(map(str, value)) if isinstance(value, tuple) else value for name, value in values.items()}
    return "Default: " + ", ".join(f"{value} on {name}" for name, value in shown.items()) + "."


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"modular-manifolds {installed_version('modular-manifolds')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train neural networks with every weight on a manifold."""


@app.command(epilog=_EPILOG)
def compare(
    data: Annotated[
        DataName, typer.Option(help="Handwritten digits come with scikit-learn; CIFAR-10 is downloaded once.")
    ] = DataName.DIGITS,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Read CIFAR-10's two parquet files from this folder instead, or from its cifar10/ or plain_text/.",
        ),
    ] = None,
    methods: Annotated[
        str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(METHODS)}.", show_default="all")
    ] = ",".join(METHODS),
    lrs: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="Learning rates for every method. Default: three of each method's own."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0.")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help=_by_data("epochs"))] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help=_by_data("batch_size"))] = None,
    momentum: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.9999,
            help="Of the methods on a manifold (above 0, Nesterov's). Default: 0, as in the blog. "
            "muon and adamw keep what they ship with.",
        ),
    ] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="N,M", help=f"Sizes of the hidden layers. {_by_data('widths')}")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of torch. Default: 1 on digits, all on cifar10.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for everything written. Default: runs/compare-DATA."),
    ] = None,
) -> None:
    """Train the same network with several methods, each over a few learning rates and seeds, and report.

    Writes results.json, report.html, plots, TensorBoard logs and the trained weights into --out.
    """
    from modular_manifolds.cli.compare import run_comparison
    from modular_manifolds.experiments.comparison import Comparison

    defaults = DEFAULTS[data]
    if data_dir is not None and data is not DataName.CIFAR10:
        raise typer.BadParameter(f"is for cifar10 only; {data} needs no files", param_hint="--data-dir")
    chosen = _methods(methods)
    if momentum is not None and all(METHODS[name].geometry is None for name in chosen):
        raise typer.BadParameter(f"none of {', '.join(chosen)} takes it", param_hint="--momentum")
    comparison = Comparison(
        data=data,
        data_dir=data_dir,
        methods=chosen,
        lrs=None if lrs is None else _numbers(lrs, float, "--lrs"),
        seeds=seeds,
        epochs=epochs or defaults.epochs,
        batch_size=batch_size or defaults.batch_size,
        momentum=momentum or 0.0,
        widths=defaults.widths if widths is None else _numbers(widths, int, "--widths"),
        threads=threads or defaults.threads,
        out=out or Path("runs") / f"compare-{data}",
    )
    raise typer.Exit(run_comparison(comparison, Console()))


def _methods(given: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'an empty list'} is unknown; there are {', '.join(METHODS)}",
            param_hint="--methods",
        )
    return names


def _numbers(given: str, kind: type[Number], option: str) -> tuple[Number, ...]:
    try:
        numbers = tuple(dict.fromkeys(kind(number) for number in given.split(",")))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 < number < math.inf for number in numbers):
        raise typer.BadParameter(f"{given!r} is no list of positive numbers with commas between", param_hint=option)
    return numbers
