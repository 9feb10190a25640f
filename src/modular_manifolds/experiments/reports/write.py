"""A page on disk: page.json, from which it can be joined with others, report.html, and its figures as files."""

import json
from pathlib import Path

from modular_manifolds.experiments import svg
from modular_manifolds.experiments.data import DataError
from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.reports.page import Page
from modular_manifolds.experiments.reports.render import render

PAGE = "page.json"
"""The file in a folder that makes it one with a report."""


def write_page(page: Page, out: Path) -> dict[str, Path]:
    """Write everything into `out`; where to look, by what it is."""
    for figure in page.figures:
        write_atomically(out / "plots" / f"{figure.name}.svg", svg.standalone(figure.drawing).encode())
    write_atomically(out / PAGE, json.dumps(page.to_json(), indent=1).encode())
    path = out / "report.html"
    write_atomically(path, render([page]).encode())
    return {"report": path}


def read_page(folder: Path) -> Page:
    """What `write_page` wrote there.

    Raises:
        DataError: there is no report, or it is damaged.
    """
    path = folder / PAGE
    try:
        return Page.from_json(json.loads(path.read_bytes()))
    except OSError as error:
        raise DataError(f"{folder} holds no report ({error}). Run an experiment with --out {folder}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error!r}). Run the experiment that wrote it again.") from error
