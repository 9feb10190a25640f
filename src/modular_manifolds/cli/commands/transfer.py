"""The options of `modular-manifolds transfer`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from modular_manifolds.cli.options import DataDir, Seeds, names_of, sizes_of
from modular_manifolds.experiments.task import TaskName
from modular_manifolds.experiments.transfer_defaults import TRANSFER_DEFAULTS
from modular_manifolds.experiments.transfer_methods import METHODS as TRANSFER_METHODS
from modular_manifolds.experiments.transfer_trial import Course

EPILOG = """
Examples:

    [bold]modular-manifolds transfer --widths 32,64,128,256 --depths none[/]

    [bold]modular-manifolds transfer --data cifar10 --data-dir data --workers 4[/]

    [bold]modular-manifolds transfer --data text --file shakespeare.txt --widths 32,64 --depths 2,4[/]

Stopped half-way? The same command with the same --out carries on. So does one with more widths, seeds or methods.
"""


def transfer(
    data: Annotated[
        TaskName,
        typer.Option(help="Multilayer perceptrons on digits or cifar10, or small GPTs on the characters of a text."),
    ] = TaskName.DIGITS,
    data_dir: DataDir = None,
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The text. Default: Python's own standard library."),
    ] = None,
    methods: Annotated[
        str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(TRANSFER_METHODS)}.", show_default="all")
    ] = ",".join(TRANSFER_METHODS),
    widths: Annotated[
        str | None, typer.Option(metavar="N,M", help="Widths to sweep, smallest first, or none. Default: 32 and up.")
    ] = None,
    depths: Annotated[
        str | None, typer.Option(metavar="N,M", help="Depths to sweep, smallest first, or none. Default: 2,4,8,16.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Of the networks whose depth is swept. Default: 64.")] = None,
    depth: Annotated[
        int | None,
        typer.Option(min=1, help="Of those whose width is swept. Default: 3 linear layers, or 2 blocks on text."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of a run. Default: 100, or 400 on text.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Default: 128, 256 on cifar10, 8 on text.")] = None,
    reach: Annotated[
        int, typer.Option(min=1, help="Learning rates to try on either side of the best one, a factor of 2 apart.")
    ] = 2,
    seeds: Seeds = 2,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch, in every process.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train side by side.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for everything written. Default: runs/transfer-DATA."),
    ] = None,
) -> None:
    """Find the best learning rate at every width and depth, and say how far it moves, beside AdamW's and Muon's.

    Takes about half an hour of one core on digits. Writes results.json, tables.md, report.html and a figure into
    --out.
    """
    from modular_manifolds.cli.transfer import run_study
    from modular_manifolds.experiments.transfer import Transfer

    defaults = TRANSFER_DEFAULTS[data]
    if data_dir is not None and data is not TaskName.CIFAR10:
        raise typer.BadParameter(f"is for cifar10 only; {data} needs no such files", param_hint="--data-dir")
    if file is not None and data is not TaskName.TEXT:
        raise typer.BadParameter(f"is for text only, not for {data}", param_hint="--file")
    course = defaults.course
    study = Transfer(
        data=data,
        data_dir=data_dir,
        file=file,
        methods=names_of(methods, TRANSFER_METHODS, "--methods"),
        widths=defaults.widths if widths is None else sizes_of(widths, "--widths"),
        depths=defaults.depths if depths is None else sizes_of(depths, "--depths"),
        course=Course(
            width=width or course.width,
            depth=depth or course.depth,
            steps=steps or course.steps,
            batch_size=batch_size or course.batch_size,
        ),
        reach=reach,
        seeds=seeds,
        threads=threads,
        workers=workers,
        out=out or Path("runs") / f"transfer-{data}",
    )
    if not study.families:
        raise typer.BadParameter("there are neither widths nor depths to sweep", param_hint="--widths, --depths")
    run_study(study, Console())
