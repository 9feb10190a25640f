"""The options of `modular-manifolds flatness`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from modular_manifolds.cli.options import DataDir, check_data_dir
from modular_manifolds.experiments.data import DataName

EPILOG = """
Examples:

    [bold]modular-manifolds flatness --data digits[/]

    [bold]modular-manifolds flatness runs/compare-digits[/]

    [bold]modular-manifolds flatness runs/manifold-muon runs/adamw --data-dir data --images 5000[/]

Stopped half-way? The same command with the same --out carries on.
"""


def flatness(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR...]", exists=True, file_okay=False, help="What compare wrote (--out)."),
    ] = None,
    data: Annotated[
        DataName | None,
        typer.Option(help="Without DIR: train first what compare trains on this by default, into its default --out."),
    ] = None,
    data_dir: DataDir = None,
    images: Annotated[int, typer.Option(min=1, help="How many training images the loss is of.")] = 2000,
    steps: Annotated[
        int, typer.Option(min=2, help="Products with the Hessian for an eigenvalue, and for an ascent, at most.")
    ] = 30,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch.")] = 1,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for everything written. Default: DIR/flatness.")
    ] = None,
) -> None:
    """Say how flat the training loss is where each method ends: Hessian eigenvalues and modular sharpness.

    Takes every method's best learning rate with all seeds from one or more folders of compare. Writes results.json,
    report.html and a figure into --out. Seconds a network on digits, a minute on cifar10.
    """
    from modular_manifolds.cli.commands.compare import compare
    from modular_manifolds.cli.flatness import run_flatness
    from modular_manifolds.experiments.flatness.study import Flatness

    if bool(folders) == (data is not None):
        raise typer.BadParameter("name what compare wrote, or say on which --data to train; not both", param_hint="DIR")
    if data is not None:
        check_data_dir(data, data_dir)
        compare(data, data_dir)
    folders = folders or [Path("runs") / f"compare-{data}"]
    settings = Flatness(
        folders=tuple(folders),
        data_dir=data_dir,
        images=images,
        steps=steps,
        threads=threads,
        out=out or folders[0] / "flatness",
    )
    run_flatness(settings, Console())
