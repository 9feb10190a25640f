"""The options of `python -m benchmarks memory`."""

from rich.console import Console

from benchmarks import memory as suite
from benchmarks.methods import METHODS
from benchmarks.options import (
    Compare,
    Device,
    Methods,
    Out,
    Shapes,
    Threads,
    Tolerance,
    conclude,
    names_of,
    read_old,
    start,
    workloads_of,
)
from benchmarks.workloads import DEFAULT_SHAPES

EPILOG = """
Examples:

    python -m benchmarks memory

    python -m benchmarks memory --shapes 2048x512 --methods manifold-muon,geoopt-adam --compare memory.json
"""


def memory(
    shapes: Shapes = DEFAULT_SHAPES,
    methods: Methods = None,
    threads: Threads = None,
    device: Device = "cpu",
    out: Out = None,
    compare: Compare = None,
    tolerance: Tolerance = 0.02,
) -> None:
    """What every method keeps between steps, and the most it needs for the time of one."""
    console = Console()
    place, old = start(threads, device), read_old(compare, "memory")
    chosen = None if methods is None else names_of(methods, METHODS)
    rows = suite.measure(workloads_of(shapes), chosen, place, console)
    console.print(suite.table(rows, place))
    conclude(suite.report(rows, place), out, old, tolerance, console)
