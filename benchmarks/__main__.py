"""Entry point of `python -m benchmarks`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.markup import escape

from benchmarks import riemannian as riemannian_suite
from benchmarks import step as step_suite
from modular_manifolds.experiments.files import write_atomically

app = typer.Typer(
    name="benchmarks",
    help="Measure where the library stands. Ratios within one run mean more than its times.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

_STEP_EPILOG = """
Examples:

    python -m benchmarks step

    python -m benchmarks step --shapes 512x512,2048x512 --methods muon,manifold-muon,dual-ascent --out step.json
"""


_STEP_SHAPES, _RIEMANNIAN_SHAPES = (
    ",".join(f"{m}x{n}" for m, n in suite.SHAPES) for suite in (step_suite, riemannian_suite)
)

Shapes = Annotated[str, typer.Option(metavar="MxN,...", help="Shapes of the one weight that is stepped.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads of torch. Default: torch's choice.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE.json", dir_okay=False, help="Write the numbers here too.")]


@app.callback()
def root() -> None:
    """Measure where the library stands. Ratios within one run mean more than its times."""


_RIEMANNIAN_EPILOG = """
Examples:

    python -m benchmarks riemannian

    python -m benchmarks riemannian --shapes 128x64 --methods adam --steps 20
"""


@app.command(epilog=_STEP_EPILOG)
def step(
    shapes: Shapes = _STEP_SHAPES,
    methods: Annotated[str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(step_suite.METHODS)}.")] = ",".join(
        step_suite.DEFAULT_METHODS
    ),
    rounds: Annotated[int, typer.Option(min=1, help="Timed steps of each method, in turns.")] = 15,
    threads: Threads = None,
    device: Device = "cpu",
    out: Out = None,
) -> None:
    """One optimizer step beside torch.optim.Muon as shipped, and how good a direction it took."""
    if threads is not None:
        torch.set_num_threads(threads)
    console = Console()
    place = _device(device)
    rows = step_suite.measure(_shapes(shapes), _methods(methods, step_suite.METHODS), rounds, place, console)
    console.print(step_suite.table(rows, place))
    _write(out, step_suite.report(rows, place), console)


@app.command(epilog=_RIEMANNIAN_EPILOG)
def riemannian(
    shapes: Shapes = _RIEMANNIAN_SHAPES,
    methods: Annotated[
        str, typer.Option(metavar="A,B", help=f"Which of: {', '.join(riemannian_suite.METHODS)}.")
    ] = ",".join(riemannian_suite.METHODS),
    steps: Annotated[int, typer.Option(min=1, help="Steps of each library, in turns.")] = riemannian_suite.STEPS,
    threads: Threads = None,
    device: Device = "cpu",
    out: Out = None,
) -> None:
    """One Riemannian SGD or Adam step on the Stiefel manifold beside geoopt's, and how far both drift off it."""
    if threads is not None:
        torch.set_num_threads(threads)
    console = Console()
    place = _device(device)
    given = _shapes(shapes)
    if any(m < n for m, n in given):
        raise typer.BadParameter("geoopt has no wide matrices on its Stiefel manifold", param_hint="--shapes")
    rows = riemannian_suite.measure(given, _methods(methods, riemannian_suite.METHODS), steps, place, console)
    console.print(riemannian_suite.table(rows, place))
    _write(out, riemannian_suite.report(rows, place), console)


def _write(out: Path | None, report: dict[str, Any], console: Console) -> None:
    if out is not None:
        write_atomically(out, json.dumps(report, indent=2).encode())
        console.print(f"wrote {escape(str(out))}")


def _shapes(given: str) -> list[tuple[int, int]]:
    try:
        shapes = [(int(m), int(n)) for m, n in (shape.split("x") for shape in given.split(","))]
    except ValueError:
        shapes = []
    if not shapes or min(min(shape) for shape in shapes) < 1:
        raise typer.BadParameter(f"{given!r} is no list such as 512x512,2048x512", param_hint="--shapes")
    return list(dict.fromkeys(shapes))


def _methods(given: str, known: Mapping[str, object]) -> list[str]:
    names = [name.strip() for name in given.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'an empty list'} is unknown; there are {', '.join(known)}",
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
