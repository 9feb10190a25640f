"""The options of `modular-manifolds report`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

EPILOG = """
Examples:

    [bold]modular-manifolds report runs[/]

    [bold]modular-manifolds report runs/compare-digits runs/transfer-digits --out both.html[/]
"""


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", exists=True, file_okay=False, help="What experiments wrote (--out), or folders of these."
        ),
    ],
    out: Annotated[Path, typer.Option(dir_okay=False, help="The file to write.")] = Path("runs/report.html"),
) -> None:
    """Join the reports of several runs into one HTML file that opens from disk and needs no network.

    Every experiment writes its report beside its results, as report.html and page.json. Those found in the folders, and
    in the folders below them, are put one after another, under a table of contents.
    """
    from modular_manifolds.cli.report import run_report

    run_report(folders, out, Console())
