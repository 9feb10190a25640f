"""The options of `modular-manifolds solvers`."""

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
    names_of,
    numbers_of,
)
from modular_manifolds.experiments.data import DataName
from modular_manifolds.experiments.defaults import DEFAULTS
from modular_manifolds.experiments.solvers.ladder import LADDER, REFERENCE

_SLOW = ", ".join(name for name, rung in LADDER.items() if rung.slow)

EPILOG = """
Examples:

    [bold]modular-manifolds solvers[/]

    [bold]modular-manifolds solvers --solvers one-step,ascent-10,exact --seeds 5[/]

    [bold]modular-manifolds solvers --data cifar10 --data-dir data --slow-seeds 1[/]

Stopped half-way? The same command with the same --out carries on. So does one with more seeds, rates or solvers.
"""


def solvers(
    data: Data = DataName.DIGITS,
    data_dir: DataDir = None,
    solvers: Annotated[
        str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(LADDER)}.", show_default="all")
    ] = ",".join(LADDER),
    lrs: Annotated[str, typer.Option(metavar="X,Y", help="Learning rates of every solver.")] = "0.03,0.1,0.3",
    seeds: Seeds = 3,
    slow_seeds: Annotated[
        int | None, typer.Option(min=1, help=f"Seeds of the slow ones ({_SLOW}). Default: as many as --seeds.")
    ] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    widths: Widths = None,
    threads: Threads = None,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for everything written. Default: runs/solvers-DATA.")
    ] = None,
) -> None:
    """Ask whether an exact direction matters: solvers of one problem, from rough to exact, in the same training.

    Every weight is on the Stiefel manifold and steps are measured in the spectral norm. Directions are graded along the
    way by what they miss of the steepest decrease, and set against the final accuracy. Minutes on digits; on cifar10
    the slow solvers take an hour. Writes results.json, report.html and plots into --out.
    """
    from modular_manifolds.cli.solvers import run_study
    from modular_manifolds.experiments.solvers.study import SolverStudy

    defaults = DEFAULTS[data]
    check_data_dir(data, data_dir)
    chosen = names_of(solvers, LADDER, "--solvers")
    if REFERENCE not in chosen:
        raise typer.BadParameter(
            f"{REFERENCE} must be among them: the others are compared with it", param_hint="--solvers"
        )
    if slow_seeds is not None and slow_seeds > seeds:
        raise typer.BadParameter(f"{slow_seeds} is more than --seeds {seeds}", param_hint="--slow-seeds")
    study = SolverStudy(
        data=data,
        data_dir=data_dir,
        solvers=chosen,
        lrs=numbers_of(lrs, float, "--lrs"),
        seeds=seeds,
        slow_seeds=slow_seeds or seeds,
        epochs=epochs or defaults.epochs,
        batch_size=batch_size or defaults.batch_size,
        widths=defaults.widths if widths is None else numbers_of(widths, int, "--widths"),
        threads=threads or defaults.threads,
        out=out or Path("runs") / f"solvers-{data}",
    )
    run_study(study, Console())
