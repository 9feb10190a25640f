"""Several runs' reports as one document."""

from collections.abc import Sequence
from pathlib import Path

from modular_manifolds.experiments.data import DataError
from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.reports.render import render
from modular_manifolds.experiments.reports.write import PAGE, read_page


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """Every folder with a report: each of `folders` itself and what lies below it, in the order of their names.

    Raises:
        DataError: there is none in one of `folders`.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        runs = sorted(path.parent for path in folder.rglob(PAGE))
        if not runs:
            raise DataError(
                f"neither {folder} nor a folder below it holds a report ({PAGE}). "
                f"Run an experiment first, such as: modular-manifolds compare --out {folder}"
            )
        for run in runs:
            found.setdefault(run.resolve(), run)
    return list(found.values())


def write_joined(runs: Sequence[Path], out: Path) -> None:
    """The reports of `runs` in one file, with a table of contents if there are several.

    Raises:
        DataError: a report is damaged, or `out` is the report of one of the runs alone.
    """
    pages = [read_page(run) for run in runs]
    if (out.parent / PAGE).exists() and out.name == "report.html":
        raise DataError(f"{out} is the report of one run, which would be lost. Choose another --out.")
    write_atomically(out, render(pages).encode())
