"""The options of `modular-manifolds geometries`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from modular_manifolds.cli.options import (
    BatchSize,
    Data,
    DataDir,
    Epochs,
    Threads,
    Widths,
    check_data_dir,
    names_of,
    numbers_of,
)
from modular_manifolds.experiments.candidates import CANDIDATES
from modular_manifolds.experiments.data import DataName
from modular_manifolds.experiments.defaults import DEFAULTS

EPILOG = """
Examples:

    [bold]modular-manifolds geometries --candidates "Stiefel x Spectral,Sphere x Frobenius"[/]

    [bold]modular-manifolds geometries --data cifar10 --data-dir data --widths 64,32 --epochs 3 --search-epochs 1[/]

Stopped half-way? The same command with the same --out carries on.
"""


def geometries(
    data: Data = DataName.DIGITS,
    data_dir: DataDir = None,
    candidates: Annotated[
        str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(CANDIDATES)}.", show_default="all")
    ] = ",".join(CANDIDATES),
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 1; seed 0 chooses learning rates.")] = 3,
    epochs: Epochs = None,
    search_epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the trials that choose learning rates. Default: as many as --epochs.")
    ] = None,
    batch_size: BatchSize = None,
    widths: Widths = None,
    threads: Threads = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for everything written. Default: runs/geometries-DATA."),
    ] = None,
) -> None:
    """Try every manifold and norm on every layer of a network, and say which trains best where.

    One layer at a time has the candidate, at a learning rate chosen on held-out images; then all layers have it; then
    each layer has its best one. Takes minutes on digits and hours on cifar10, for the pairs without a closed form.
    Writes results.json, tables.md, report.html and a figure into --out.
    """
    from modular_manifolds.cli.geometries import run_geometries
    from modular_manifolds.experiments.study import Study

    defaults = DEFAULTS[data]
    check_data_dir(data, data_dir)
    epochs = epochs or defaults.epochs
    study = Study(
        data=data,
        data_dir=data_dir,
        candidates=names_of(candidates, CANDIDATES, "--candidates"),
        seeds=seeds,
        epochs=epochs,
        search_epochs=search_epochs or epochs,
        batch_size=batch_size or defaults.batch_size,
        widths=defaults.widths if widths is None else numbers_of(widths, int, "--widths"),
        threads=threads or defaults.threads,
        out=out or Path("runs") / f"geometries-{data}",
    )
    run_geometries(study, Console())
