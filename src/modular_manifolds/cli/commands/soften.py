"""The options of `modular-manifolds soften`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from modular_manifolds.cli.options import (
    BatchSize,
    Data,
    DataDir,
    Epochs,
    Seeds,
    Threads,
    Widths,
    check_data_dir,
    numbers_of,
)
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
    data: Data = DataName.DIGITS,
    data_dir: DataDir = None,
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
    seeds: Seeds = 3,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    widths: Widths = None,
    threads: Threads = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for everything written. Default: runs/soften-DATA-OPTIMIZER."),
    ] = None,
) -> None:
    """Train with weights free, softly drawn to the Stiefel manifold, and held on it; say whether they oscillate.

    The soft constraint is W_eff = (1 - a) W + a Pi(W) with a = 1 / (1 + kappa dist(W)^2). Writes results.json,
    report.html, plots, TensorBoard logs, and every run's weights and distances step by step into --out.
    """
    from modular_manifolds.cli.soften import run_softening
    from modular_manifolds.experiments.softening import Softening

    defaults = DEFAULTS[data]
    check_data_dir(data, data_dir)
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
    run_softening(softening, Console())
