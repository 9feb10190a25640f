"""The options of `modular-manifolds soften`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from modular_manifolds.cli.options import by_data, numbers_of
from modular_manifolds.experiments.constraints import OPTIMIZERS, Start, constraints
from modular_manifolds.experiments.data import DataName
from modular_manifolds.experiments.defaults import DEFAULTS

EPILOG = """
Examples:

    [bold]modular-manifolds soften[/]

    [bold]modular-manifolds soften --data cifar10 --data-dir data --optimizer sgd --kappas 0,1,100 --lrs 0.1,0.3[/]

Stopped half-way? The same command with the same --out carries on.
"""


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
    epochs: Annotated[int | None, typer.Option(min=1, help=by_data("epochs"))] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help=by_data("batch_size"))] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="N,M", help=f"Sizes of the hidden layers. {by_data('widths')}")
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
    pulls = numbers_of(kappas, float, "--kappas", zero=True)
    softening = Softening(
        data=data,
        data_dir=data_dir,
        methods=tuple(constraints(optimizer, pulls, start)),
        lrs=OPTIMIZERS[optimizer].lrs if lrs is None else numbers_of(lrs, float, "--lrs"),
        seeds=seeds,
        epochs=epochs or defaults.epochs,
        batch_size=batch_size or defaults.batch_size,
        momentum=OPTIMIZERS[optimizer].momentum(0.0),
        widths=defaults.widths if widths is None else numbers_of(widths, int, "--widths"),
        threads=threads or defaults.threads,
        out=out or Path("runs") / f"soften-{data}-{optimizer}",
        optimizer=optimizer,
        kappas=pulls,
        start=start,
    )
    raise typer.Exit(run_softening(softening, Console()))
