"""The options of `modular-manifolds`, and their checks."""

import math
from collections.abc import Collection
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from modular_manifolds.experiments.candidates import CANDIDATES
from modular_manifolds.experiments.constraints import OPTIMIZERS, Start, constraints
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

_GEOMETRIES_EPILOG = """
Examples:

    [bold]modular-manifolds geometries --candidates "Stiefel x Spectral,Sphere x Frobenius"[/]

    [bold]modular-manifolds geometries --data cifar10 --data-dir data --widths 64,32 --epochs 3 --search-epochs 1[/]

Stopped half-way? The same command with the same --out carries on.
"""

_SOFTEN_EPILOG = """
Examples:

    [bold]modular-manifolds soften[/]

    [bold]modular-manifolds soften --data cifar10 --data-dir data --optimizer sgd --kappas 0,1,100 --lrs 0.1,0.3[/]

Stopped half-way? The same command with the same --out carries on.
"""

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


@app.command(epilog=_SOFTEN_EPILOG)
def soften(
    data: Annotated[
        DataName, typer.Option(help="Handwritten digits come with scikit-learn; CIFAR-10 is downloaded once.")
    ] = DataName.DIGITS,
    data_dir: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of CIFAR-10's two parquet files, as for compare."),
    ] = None,
    optimizer: Annotated[
        str, typer.Option(metavar="NAME", help=f"As torch ships it, of the raw weights: {', '.join(OPTIMIZERS)}.")
    ] = "muon",
    kappas: Annotated[
        str,
        typer.Option(metavar="X,Y", help="Constants of the soft constraint; 0 is the hardest, large ones are free."),
    ] = "0,0.1,1,10,100",
    lrs: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="Learning rates for every constraint. Default: three of the optimizer's own."),
    ] = None,
    start: Annotated[
        Start, typer.Option(help="Where raw weights begin: on the manifold, or as PyTorch initialises them.")
    ] = Start.MANIFOLD,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0.")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help=_by_data("epochs"))] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help=_by_data("batch_size"))] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="N,M", help=f"Sizes of the hidden layers. {_by_data('widths')}")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of torch. Default: 1 on digits, all on cifar10.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for everything written. Default: runs/soften-DATA-OPTIMIZER."),
    ] = None,
) -> None:
    """Train with weights free, softly drawn to the Stiefel manifold, and held on it; say whether they oscillate.

    The soft constraint is W_eff = (1 - a) W + a Pi(W) with a = 1 / (1 + kappa dist(W)^2). Writes results.json, plots,
    TensorBoard logs, and every run's weights and distances step by step into --out.
    """
    from modular_manifolds.cli.soften import run_softening
    from modular_manifolds.experiments.softening import Softening

    defaults = DEFAULTS[data]
    if data_dir is not None and data is not DataName.CIFAR10:
        raise typer.BadParameter(f"is for cifar10 only; {data} needs no files", param_hint="--data-dir")
    if optimizer not in OPTIMIZERS:
        raise typer.BadParameter(f"{optimizer} is unknown; there are {', '.join(OPTIMIZERS)}", param_hint="--optimizer")
    pulls = _numbers(kappas, float, "--kappas", zero=True)
    softening = Softening(
        data=data,
        data_dir=data_dir,
        methods=tuple(constraints(optimizer, pulls, start)),
        lrs=OPTIMIZERS[optimizer].lrs if lrs is None else _numbers(lrs, float, "--lrs"),
        seeds=seeds,
        epochs=epochs or defaults.epochs,
        batch_size=batch_size or defaults.batch_size,
        momentum=OPTIMIZERS[optimizer].momentum(0.0),
        widths=defaults.widths if widths is None else _numbers(widths, int, "--widths"),
        threads=threads or defaults.threads,
        out=out or Path("runs") / f"soften-{data}-{optimizer}",
        optimizer=optimizer,
        kappas=pulls,
        start=start,
    )
    raise typer.Exit(run_softening(softening, Console()))


@app.command(epilog=_GEOMETRIES_EPILOG)
def geometries(
    data: Annotated[
        DataName, typer.Option(help="Handwritten digits come with scikit-learn; CIFAR-10 is downloaded once.")
    ] = DataName.DIGITS,
    data_dir: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of CIFAR-10's two parquet files, as for compare."),
    ] = None,
    candidates: Annotated[
        str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(CANDIDATES)}.", show_default="all")
    ] = ",".join(CANDIDATES),
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 1; seed 0 chooses learning rates.")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help=_by_data("epochs"))] = None,
    search_epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the trials that choose learning rates. Default: as many as --epochs.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help=_by_data("batch_size"))] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="N,M", help=f"Sizes of the hidden layers. {_by_data('widths')}")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of torch. Default: 1 on digits, all on cifar10.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for everything written. Default: runs/geometries-DATA."),
    ] = None,
) -> None:
    """Try every manifold and norm on every layer of a network, and say which trains best where.

    One layer at a time has the candidate, at a learning rate chosen on held-out images; then all layers have it; then
    each layer has its best one. Takes minutes on digits and hours on cifar10, for the pairs without a closed form.
    Writes results.json, tables.md and a figure into --out.
    """
    from modular_manifolds.cli.geometries import run_geometries
    from modular_manifolds.experiments.study import Study

    defaults = DEFAULTS[data]
    if data_dir is not None and data is not DataName.CIFAR10:
        raise typer.BadParameter(f"is for cifar10 only; {data} needs no files", param_hint="--data-dir")
    epochs = epochs or defaults.epochs
    study = Study(
        data=data,
        data_dir=data_dir,
        candidates=_names(candidates, CANDIDATES, "--candidates"),
        seeds=seeds,
        epochs=epochs,
        search_epochs=search_epochs or epochs,
        batch_size=batch_size or defaults.batch_size,
        widths=defaults.widths if widths is None else _numbers(widths, int, "--widths"),
        threads=threads or defaults.threads,
        out=out or Path("runs") / f"geometries-{data}",
    )
    raise typer.Exit(run_geometries(study, Console()))


def _methods(given: str) -> tuple[str, ...]:
    return _names(given, METHODS, "--methods")


def _names(given: str, known: Collection[str], option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'an empty list'} is unknown; there are {', '.join(known)}",
            param_hint=option,
        )
    return names


def _numbers(given: str, kind: type[Number], option: str, *, zero: bool = False) -> tuple[Number, ...]:
    try:
        numbers = tuple(dict.fromkeys(kind(number) for number in given.split(",")))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 < number < math.inf or (zero and number == 0) for number in numbers):
        kinds = "positive numbers or 0" if zero else "positive numbers"
        raise typer.BadParameter(f"{given!r} is no list of {kinds} with commas between", param_hint=option)
    return numbers
