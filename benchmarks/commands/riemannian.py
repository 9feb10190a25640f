"""The options of `python -m benchmarks riemannian`."""

from typing import Annotated

import typer
from rich.console import Console

from benchmarks import riemannian as suite
from benchmarks.options import Device, Out, Threads, conclude, names_of, start, workloads_of

EPILOG = """
Examples:

    python -m benchmarks riemannian

    python -m benchmarks riemannian --shapes 128x64 --methods adam --steps 20
"""

_SHAPES = ",".join(f"{m}x{n}" for m, n in suite.SHAPES)


def riemannian(
    shapes: Annotated[str, typer.Option(metavar="A,B", help="Shapes of the one weight that is stepped.")] = _SHAPES,
    methods: Annotated[str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(suite.METHODS)}.")] = ",".join(
        suite.METHODS
    ),
    steps: Annotated[int, typer.Option(min=1, help="Steps of each library, in turns.")] = suite.STEPS,
    threads: Threads = None,
    device: Device = "cpu",
    out: Out = None,
) -> None:
    """One Riemannian SGD or Adam step on the Stiefel manifold beside geoopt's, and how far both drift off it."""
    console, place = Console(), start(threads, device)
    given = [workload.shapes[0] for workload in workloads_of(shapes)]
    if any(len(shape) != 2 for shape in given):
        raise typer.BadParameter("one matrix at a time is compared here, such as 512x512", param_hint="--shapes")
    pairs = [(m, n) for m, n in given]
    if any(m < n for m, n in pairs):
        raise typer.BadParameter("geoopt has no wide matrices on its Stiefel manifold", param_hint="--shapes")
    rows = suite.measure(pairs, names_of(methods, suite.METHODS), steps, place, console)
    console.print(suite.table(rows, place))
    conclude(suite.report(rows, place), out, None, 0.0, console)
