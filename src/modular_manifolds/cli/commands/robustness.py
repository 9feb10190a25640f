"""The options of `modular-manifolds robustness`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from modular_manifolds.cli.options import DataDir, numbers_of, ratio

EPILOG = """
Examples:

    [bold]modular-manifolds robustness runs/compare-digits[/]

    [bold]modular-manifolds robustness runs/muon runs/adamw --data-dir data --images 500 --radii 36/255,0.5[/]
"""


def robustness(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", exists=True, file_okay=False, help="What compare wrote (--out)."),
    ],
    data_dir: DataDir = None,
    radii: Annotated[
        str, typer.Option(metavar="X,Y", help="Euclidean lengths of the changes, pixels being from 0 to 1.")
    ] = "36/255,72/255,108/255",
    images: Annotated[int, typer.Option(min=1, help="How many test images to attack, from the first.")] = 1000,
    steps: Annotated[int, typer.Option(min=1, help="Steps of an attack.")] = 100,
    restarts: Annotated[int, typer.Option(min=1, help="How often an attack is begun anew.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch.")] = 1,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for everything written. Default: DIR/robustness.")
    ] = None,
) -> None:
    """Say which changes to an image trained networks provably withstand, and which an attack succeeds with.

    Takes every method's best learning rate with all seeds from one or more folders of compare. A decision is certified
    up to margin / (sqrt(2) L), L the network's Lipschitz constant from pixels to logits; projected gradient descent
    attacks it. Writes robustness.json, report.html and a figure into --out. Minutes on cifar10. Exit status 3 means
    that an attack changed a certified decision, which a right certificate rules out.
    """
    from modular_manifolds.cli.robustness import run_robustness
    from modular_manifolds.experiments.robustness import Robustness

    measured = Robustness(
        folders=tuple(folders),
        data_dir=data_dir,
        radii=numbers_of(radii, ratio, "--radii"),
        images=images,
        steps=steps,
        restarts=restarts,
        threads=threads,
        out=out or folders[0] / "robustness",
    )
    run_robustness(measured, Console())
