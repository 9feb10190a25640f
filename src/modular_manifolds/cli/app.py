"""The command `modular-manifolds` and its subcommands."""

from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from modular_manifolds.cli.commands import (
    compare,
    erasure,
    flatness,
    geometries,
    model,
    report,
    robustness,
    soften,
    solvers,
    sweep,
    tightness,
    transfer,
)

app = typer.Typer(
    name="modular-manifolds",
    help="Train neural networks with every weight on a manifold.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"modular-manifolds {installed_version('modular-manifolds')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train neural networks with every weight on a manifold."""


app.command(epilog=model.PLAN_EPILOG)(model.plan)
app.command(epilog=model.CERTIFY_EPILOG)(model.certify)
app.command(epilog=compare.EPILOG)(compare.compare)
app.command(epilog=geometries.EPILOG)(geometries.geometries)
app.command(epilog=soften.EPILOG)(soften.soften)
app.command(epilog=robustness.EPILOG)(robustness.robustness)
app.command(epilog=sweep.EPILOG)(sweep.sweep)
app.command(epilog=flatness.EPILOG)(flatness.flatness)
app.command(epilog=tightness.EPILOG)(tightness.tightness)
app.command(epilog=transfer.EPILOG)(transfer.transfer)
app.command(epilog=report.EPILOG)(report.report)
app.command(epilog=erasure.EPILOG)(erasure.erasure)
app.command(epilog=solvers.EPILOG)(solvers.solvers)
