"""The options of `python -m benchmarks step`."""

from typing import Annotated

import typer
from rich.console import Console

from benchmarks import step as suite
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
from benchmarks.step_table import table
from benchmarks.workloads import DEFAULT_SHAPES, Gradients

EPILOG = """
Examples:

    python -m benchmarks step

    python -m benchmarks step --shapes 512x512,gpt2 --methods manifold-muon,adamw --out step.json

    python -m benchmarks step --compare step.json --tolerance 0.1
"""


def step(
    shapes: Shapes = DEFAULT_SHAPES,
    methods: Methods = None,
    rounds: Annotated[
        int, typer.Option(min=1, help=f"Timed steps of each method, in turns; {suite.SLOW_ROUNDS} of slow ones.")
    ] = 15,
    gradients: Annotated[
        Gradients, typer.Option(help="Gaussian, or with singular values 1, 1/2, 1/3, ...")
    ] = Gradients.GAUSSIAN,
    threads: Threads = None,
    device: Device = "cpu",
    out: Out = None,
    compare: Compare = None,
    tolerance: Tolerance = 0.1,
) -> None:
    """One optimizer step beside torch.optim.Muon as shipped, and how good a direction it took.

    gpt2 is every hidden matrix of GPT-2 124M. Its embeddings are left out, as AdamW steps them in practice.
    """
    console = Console()
    place, old = start(threads, device), read_old(compare, "step")
    chosen = None if methods is None else names_of(methods, METHODS)
    rows = suite.measure(workloads_of(shapes), chosen, rounds, gradients, place, console)
    console.print(table(rows, place))
    conclude(suite.report(rows, gradients, place), out, old, tolerance, console)
