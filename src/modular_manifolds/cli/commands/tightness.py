"""The options of `modular-manifolds tightness`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from modular_manifolds.cli.options import (
    BatchSize,
    Data,
    DataDir,
    Lrs,
    Seeds,
    Threads,
    check_data_dir,
    names_of,
    numbers_of,
)
from modular_manifolds.experiments.data import DataName
from modular_manifolds.experiments.defaults import DEFAULTS
from modular_manifolds.experiments.methods import METHODS

EPILOG = """
Examples:

    [bold]modular-manifolds tightness[/]

    [bold]modular-manifolds tightness --data cifar10 --data-dir data --depths 3,6 --methods manifold-muon,muon,adamw[/]

Stopped half-way? The same command with the same --out carries on. So does one with more depths, seeds or methods.
"""


def tightness(
    data: Data = DataName.DIGITS,
    data_dir: DataDir = None,
    methods: Annotated[
        str, typer.Option(metavar="A,B", help=f"What trains the networks, of: {', '.join(METHODS)}.")
    ] = "manifold-muon,adamw",
    depths: Annotated[str, typer.Option(metavar="N,M", help="Numbers of weight matrices.")] = "3,6,12,24",
    width: Annotated[int, typer.Option(min=1, help="Of every hidden layer.")] = 64,
    lrs: Lrs = None,
    seeds: Seeds = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: 30 on digits, 10 on cifar10.")] = None,
    batch_size: BatchSize = None,
    effort: Annotated[float, typer.Option(min=0.01, max=1000, help="Search so many times as long.")] = 1.0,
    threads: Threads = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for everything written. Default: runs/tightness-DATA."),
    ] = None,
) -> None:
    """Say how much larger the proved Lipschitz bound is than the largest stretch that can be found, by depth.

    Of ReLU networks without biases, trained and at their start: every method at its learning rate of highest test
    accuracy. Takes about a quarter of an hour of one core on digits. Writes results.json, tables.md, report.html and
    a figure into --out. Exit status 3 means that a stretch was measured above the bound, which a right bound rules out.
    """
    from modular_manifolds.cli.tightness import run_study
    from modular_manifolds.experiments.tightness import EPOCHS, Tightness

    defaults = DEFAULTS[data]
    check_data_dir(data, data_dir)
    study = Tightness(
        data=data,
        data_dir=data_dir,
        methods=names_of(methods, METHODS, "--methods"),
        depths=numbers_of(depths, int, "--depths"),
        width=width,
        lrs=None if lrs is None else numbers_of(lrs, float, "--lrs"),
        seeds=seeds,
        epochs=epochs or EPOCHS[data],
        batch_size=batch_size or defaults.batch_size,
        effort=effort,
        threads=threads or defaults.threads,
        out=out or Path("runs") / f"tightness-{data}",
    )
    run_study(study, Console())
