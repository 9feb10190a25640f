"""The options of `python -m benchmarks distributed`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.markup import escape

from benchmarks import distributed as suite
from benchmarks.distributed_cost import TRANSFORMERS
from benchmarks.distributed_plot import write_plot
from benchmarks.hardware import describe
from benchmarks.options import Out, conclude, names_of
from modular_manifolds.distributed.routes import ACCELERATOR

EPILOG = """
Examples:

    python -m benchmarks distributed

    python -m benchmarks distributed --models 8b --ranks 64,4096 --bandwidth 25e9 --figure a.svg

    python -m benchmarks distributed --count-bytes 2,4

    python -m benchmarks distributed --measure-memory 1,2,4
"""

_RANKS = "8,16,32,64,128,256,512,1024,2048,4096"


def distributed(
    models: Annotated[str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(TRANSFORMERS)}.")] = ",".join(
        TRANSFORMERS
    ),
    ranks: Annotated[str, typer.Option(metavar="N,M", help="How many; those that cannot hold a copy are left out.")] = (
        _RANKS
    ),
    flops: Annotated[
        float, typer.Option(min=1, help="Of matrix signs, in a second: published rate times the share reached.")
    ] = ACCELERATOR.flops,
    precise_flops: Annotated[float, typer.Option(min=1, help="Of products in float32.")] = (
        ACCELERATOR.precise_flops or ACCELERATOR.flops
    ),
    bandwidth: Annotated[float, typer.Option(min=1, help="Bytes a second between nodes, of each rank.")] = (
        ACCELERATOR.bandwidth
    ),
    inside: Annotated[float, typer.Option(min=1, help="Bytes a second inside a node, of each rank.")] = (
        ACCELERATOR.inside or ACCELERATOR.bandwidth
    ),
    node: Annotated[int, typer.Option(min=1, help="Ranks of a node.")] = ACCELERATOR.node,
    latency: Annotated[float, typer.Option(min=0, help="Seconds of a collective.")] = ACCELERATOR.latency,
    message: Annotated[float, typer.Option(min=0, help="Seconds for each rank written to.")] = ACCELERATOR.message,
    products: Annotated[float, typer.Option(min=1, help="That a matrix sign is worth.")] = ACCELERATOR.products,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", dir_okay=False, help="Draw the simulation: .svg or .png.")
    ] = None,
    count_bytes: Annotated[
        str | None,
        typer.Option(metavar="N,M", help="Do not simulate: count what so many processes send, beside the prediction."),
    ] = None,
    measure_memory: Annotated[
        str | None,
        typer.Option(metavar="N,M", help="Do not simulate: memory of so many processes that shard one model."),
    ] = None,
    matrices: Annotated[int, typer.Option(min=1, help="Of that model.")] = 24,
    side: Annotated[int, typer.Option(min=1, help="Of its matrices.")] = 2048,
    out: Out = None,
) -> None:
    """A step of a Llama on up to thousands of ranks, simulated; or what a few processes here really send and keep."""
    if figure is not None and (count_bytes is not None or measure_memory is not None):
        raise typer.BadParameter("only a simulation is drawn", param_hint="--figure")
    console, here = Console(), describe(torch.device("cpu"))
    if count_bytes is not None:
        counted = suite.count_bytes(_numbers(count_bytes, "--count-bytes"), console)
        console.print(suite.bytes_table(counted))
        conclude({"benchmark": "distributed-bytes", "hardware": here, "rows": counted}, out, None, 0.0, console)
    if measure_memory is not None:
        kept = suite.measure_memory(_numbers(measure_memory, "--measure-memory"), matrices, side, console)
        console.print(suite.memory_table(kept))
        conclude({"benchmark": "distributed-memory", "hardware": here, "rows": kept}, out, None, 0.0, console)
    if count_bytes is not None or measure_memory is not None:
        return
    machine = replace(
        ACCELERATOR,
        flops=flops,
        precise_flops=precise_flops,
        bandwidth=bandwidth,
        inside=inside,
        node=node,
        latency=latency,
        message=message,
        products=products,
    )
    rows = suite.simulate(names_of(models, TRANSFORMERS, "--models"), _numbers(ranks, "--ranks"), machine)
    if not rows:
        raise typer.BadParameter("none of these models fits so few ranks, or shares of its shard", param_hint="--ranks")
    console.print(suite.table(rows))
    report = suite.report(rows, machine)
    if figure is not None:
        try:
            write_plot(report, figure)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--figure") from error
        console.print(f"wrote {escape(str(figure))}", soft_wrap=True)
    conclude(report, out, None, 0.0, console)


def _numbers(given: str, option: str) -> list[int]:
    try:
        numbers = sorted({int(number) for number in given.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1:
        raise typer.BadParameter(f"{given!r} is no list of numbers of ranks such as 2,4", param_hint=option)
    return numbers
