"""The options of `python -m benchmarks plot`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from benchmarks import changes
from benchmarks.plot import write_plot

EPILOG = """
Example:

    python -m benchmarks plot benchmarks/results/step-cpu.json --out docs/step.svg
"""


def plot(
    result: Annotated[
        Path, typer.Argument(metavar="RESULT.json", exists=True, dir_okay=False, help="What step wrote with --out.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.svg", dir_okay=False, help="Where to: .svg or .png.")],
) -> None:
    """Draw a result of step: ratios to Muon, a panel for every shape. Red bars broke their precision's promise."""
    try:
        write_plot(changes.read(result, "step"), out)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    Console().print(f"wrote {escape(str(out))}", soft_wrap=True)
