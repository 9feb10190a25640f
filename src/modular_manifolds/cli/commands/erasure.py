"""The options of `modular-manifolds erasure`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from modular_manifolds.cli.options import DataDir, Seeds, check_data_dir, names_of, numbers_of, ratio
from modular_manifolds.experiments.data import DataName

EPILOG = """
Examples:

    [bold]modular-manifolds erasure --as-published[/]

    [bold]modular-manifolds erasure --data-dir data --letters ABC --methods dualised,manifold --lrs 1/8,1/2[/]

    [bold]modular-manifolds erasure --data-dir data --width 1024 --steps 1001 --batch-size 1024[/] (the published sizes)

Stopped half-way? The same command with the same --out carries on. So does one with more methods, rates or seeds.
"""

_METHODS = ("plain", "adam", "dualised", "manifold")


def erasure(
    data: Annotated[
        DataName | None, typer.Option(help="Default: cifar10 where --data-dir is given, else handwritten digits.")
    ] = None,
    data_dir: DataDir = None,
    methods: Annotated[
        str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(_METHODS)}.", show_default="all")
    ] = ",".join(_METHODS),
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="Also with the published slip, which only ever draws the first images, and with uncentred pixels.",
        ),
    ] = False,
    lrs: Annotated[
        str, typer.Option(metavar="X,Y", help="Lengths of a step of the network, of which every layer gets a third.")
    ] = "1/64,1/32,1/16,1/8,1/4,1/2,1,2,4,8",
    seeds: Seeds = 1,
    width: Annotated[
        int | None, typer.Option(min=8, help="Of the two hidden layers. Default: 128 on digits, 256 on cifar10.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of training.")] = 200,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Default: 256 on digits, 512 on cifar10.")] = None,
    rank_widths: Annotated[
        str | None,
        typer.Option(metavar="N,M", help="To measure stable ranks at. Default: 32 to 512 on digits, 1024 on cifar10."),
    ] = None,
    letters: Annotated[str, typer.Option(help="The picture.")] = "MM",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch.")] = 1,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for everything written. Default: runs/erasure-DATA.")
    ] = None,
) -> None:
    """Draw a picture into a weight matrix, train, and look whether it is still there.

    A network's middle matrix begins with letters left blank. Gradient descent, Adam, dualised and manifold updates, all
    of one length, train it at every learning rate; the report shows the matrix after each, and the stable rank of
    gradients and updates. Under a minute on digits, about ten on cifar10, twice that with --as-published. Writes
    results.json, ranks.json, report.html and plots into --out.
    """
    from modular_manifolds.cli.erasure import run_study
    from modular_manifolds.experiments.erasure.picture import ink
    from modular_manifolds.experiments.erasure.setting import Setting
    from modular_manifolds.experiments.erasure.study import DEFAULTS, Erasure

    name = data or (DataName.DIGITS if data_dir is None else DataName.CIFAR10)
    check_data_dir(name, data_dir)
    defaults = DEFAULTS[name]
    width = width or defaults.width
    if not letters.strip() or not bool(ink(letters, width).any()):
        raise typer.BadParameter(f"{letters!r} leaves no ink on {width} x {width} entries", param_hint="--letters")
    study = Erasure(
        data=name,
        data_dir=data_dir,
        methods=names_of(methods, _METHODS, "--methods"),
        settings=(Setting.CORRECTED, Setting.PUBLISHED) if as_published else (Setting.CORRECTED,),
        lrs=numbers_of(lrs, ratio, "--lrs"),
        seeds=seeds,
        width=width,
        steps=steps,
        batch_size=batch_size or defaults.batch_size,
        rank_widths=defaults.rank_widths if rank_widths is None else numbers_of(rank_widths, int, "--rank-widths"),
        letters=letters,
        threads=threads,
        out=out or Path("runs") / f"erasure-{name}",
    )
    run_study(study, Console())
