"""The options of `modular-manifolds compare`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from modular_manifolds.cli.options import (
    BatchSize,
    Data,
    Epochs,
    Lrs,
    Seeds,
    Threads,
    Widths,
    check_data_dir,
    numbers_of,
    scaled_methods_of,
)
from modular_manifolds.experiments.data import DataName
from modular_manifolds.experiments.defaults import DEFAULTS
from modular_manifolds.experiments.methods import METHODS, method_of

EPILOG = """
Examples:

    [bold]modular-manifolds compare[/]

    [bold]modular-manifolds compare --data cifar10 --methods manifold-muon,muon --lrs 0.03,0.1 --seeds 3[/]

    [bold]modular-manifolds compare --nproc 2[/]

Stopped half-way? The same command with the same --out carries on.
"""


def compare(
    data: Data = DataName.DIGITS,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Read CIFAR-10's two parquet files from this folder instead, or from its cifar10/ or plain_text/.",
        ),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help=f"Which of: {', '.join(METHODS)}. A number scales a manifold: manifold-muon@2 has twice the radii.",
            show_default="all",
        ),
    ] = ",".join(METHODS),
    lrs: Lrs = None,
    seeds: Seeds = 3,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    momentum: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.9999,
            help="Of the methods on a manifold (above 0, Nesterov's). Default: 0, as in the blog. "
            "muon and adamw keep what they ship with.",
        ),
    ] = None,
    widths: Widths = None,
    threads: Threads = None,
    nproc: Annotated[
        int,
        typer.Option(
            min=1,
            help="Processes that train each run together, on their parts of every batch (DistributedDataParallel over "
            "gloo), each with --threads threads: by default 1 on digits, its share of all on cifar10.",
        ),
    ] = 1,
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
    check_data_dir(data, data_dir)
    chosen = scaled_methods_of(methods)
    if momentum is not None and all(method_of(name).geometry is None for name in chosen):
        raise typer.BadParameter(f"none of {', '.join(chosen)} takes it", param_hint="--momentum")
    size = batch_size or defaults.batch_size
    if nproc > size:
        raise typer.BadParameter(
            f"{nproc} processes cannot share batches of {size}; take fewer, or a larger --batch-size",
            param_hint="--nproc",
        )
    comparison = Comparison(
        data=data,
        data_dir=data_dir,
        methods=chosen,
        lrs=None if lrs is None else numbers_of(lrs, float, "--lrs"),
        seeds=seeds,
        epochs=epochs or defaults.epochs,
        batch_size=size,
        momentum=momentum or 0.0,
        widths=defaults.widths if widths is None else numbers_of(widths, int, "--widths"),
        threads=threads or max(1, defaults.threads // nproc),
        nproc=nproc,
        out=out or Path("runs") / f"compare-{data}",
    )
    run_comparison(comparison, Console())
