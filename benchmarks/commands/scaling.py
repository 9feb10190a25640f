"""The options of `python -m benchmarks scaling`."""

from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import scaling as suite
from benchmarks.methods import METHODS
from benchmarks.options import (
    Compare,
    Device,
    Methods,
    Out,
    Threads,
    Tolerance,
    conclude,
    names_of,
    read_old,
    start,
)

EPILOG = """
Examples:

    python -m benchmarks scaling

    python -m benchmarks scaling --axes n --sizes 64,128,256 --methods manifold-muon,geoopt-adam --out scaling.json
"""

_AXES = {axis.name: axis for axis in suite.AXES}
_SIZES = "; ".join(f"{','.join(map(str, axis.sizes))} for {axis.name}" for axis in suite.AXES)


def scaling(
    axes: Annotated[
        str,
        typer.Option(metavar="A,B", help="What grows: n (of n x n), m (of m x 256), batch (of matrices of 128 x 128)."),
    ] = "n,m,batch",
    sizes: Annotated[
        str | None, typer.Option(metavar="N,M", help=f"Two or more, the same for every axis. Default: {_SIZES}.")
    ] = None,
    methods: Methods = suite.DEFAULT_METHODS,
    rounds: Annotated[int, typer.Option(min=1, help="Timed steps of each method at each size, in turns.")] = 9,
    threads: Threads = None,
    device: Device = "cpu",
    out: Out = None,
    compare: Compare = None,
    tolerance: Tolerance = 0.1,
) -> None:
    """How the seconds of a step grow with the sides of a matrix and the number of matrices: fitted exponents."""
    console = Console()
    place, old = start(threads, device), read_old(compare, "scaling")
    chosen = [_AXES[name] for name in names_of(axes, _AXES, "--axes")]
    if sizes is not None:
        chosen = [replace(axis, sizes=_sizes_of(sizes)) for axis in chosen]
    curves = suite.measure(chosen, names_of(methods or "", METHODS), rounds, place, console)
    for table in suite.tables(curves, place):
        console.print(table)
    conclude(suite.report(curves, place), out, old, tolerance, console)


def _sizes_of(given: str) -> tuple[int, ...]:
    try:
        sizes = sorted({int(size) for size in given.split(",")})
    except ValueError:
        sizes = []
    if len(sizes) < 2 or sizes[0] < 1:
        raise typer.BadParameter(f"{given!r} is no list of two or more sizes such as 128,256", param_hint="--sizes")
    return tuple(sizes)
