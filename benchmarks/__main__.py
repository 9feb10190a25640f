"""Entry point of `python -m benchmarks`."""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.markup import escape

from benchmarks import step as step_suite
from modular_manifolds.experiments.files import write_atomically

app = typer.Typer(
    name="benchmarks",
    help="Measure where the library stands. Ratios within one run mean more than its times.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

_EPILOG = """
Examples:

    python -m benchmarks step

    python -m benchmarks step --shapes 512x512,2048x512 --methods muon,manifold-muon,dual-ascent --out step.json
"""


@app.callback()
def root() -> None:
    """Measure where the library stands. Ratios within one run mean more than its times."""


@app.command(epilog=_EPILOG)
def step(
    shapes: Annotated[
        str, typer.Option(metavar="MxN,...", help="Shapes of the one weight that is stepped.")
    ] = ",".join(f"{m}x{n}" for m, n in step_suite.SHAPES),
    methods: Annotated[str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(step_suite.METHODS)}.")] = ",".join(
        step_suite.DEFAULT_METHODS
    ),
    rounds: Annotated[int, typer.Option(min=1, help="Timed steps of each method, in turns.")] = 15,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of torch. Default: torch's choice.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.json", dir_okay=False, help="Write the numbers here too.")
    ] = None,
) -> None:
    """One optimizer step beside torch.optim.Muon as shipped, and how good a direction it took."""
    if threads is not None:
        torch.set_num_threads(threads)
    console = Console()
    place = _device(device)
    rows = step_suite.measure(_shapes(shapes), _methods(methods), rounds, place, console)
    console.print(step_suite.table(rows, place))
    if out is not None:
        write_atomically(out, json.dumps(step_suite.report(rows, place), indent=2).encode())
        console.print(f"wrote {escape(str(out))}")


def _shapes(given: str) -> list[tuple[int, int]]:
    try:
        shapes = [(int(m), int(n)) for m, n in (shape.split("x") for shape in given.split(","))]
    except ValueError:
        shapes = []
    if not shapes or min(min(shape) for shape in shapes) < 1:
        raise typer.BadParameter(f"{given!r} is no list such as 512x512,2048x512", param_hint="--shapes")
    return list(dict.fromkeys(shapes))


def _methods(given: str) -> list[str]:
    names = [name.strip() for name in given.split(",") if name.strip()]
    unknown = [name for name in names if name not in step_suite.METHODS]
    if unknown or not names:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'an empty list'} is unknown; there are {', '.join(step_suite.METHODS)}",
            param_hint="--methods",
        )
    return list(dict.fromkeys(names))


def _device(given: str) -> torch.device:
    try:
        device = torch.device(given)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise typer.BadParameter(f"{given!r} is neither cpu nor cuda", param_hint="--device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise typer.BadParameter(
            f"{given} is not there: {torch.cuda.device_count()} CUDA devices", param_hint="--device"
        )
    return device


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
