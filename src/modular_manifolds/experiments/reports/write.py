"""A page on disk: page.json, from which it can be joined with others, report.html, and its figures as files."""

import json
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from modular_manifolds.experiments import svg
from modular_manifolds.experiments.data import DataError
from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.reports.page import Page


def write_page(page: Page, out: Path) -> dict[str, Path]:
    """Write everything into `out`; where to look, by what it is."""
    for figure in (figure for section in page.sections for figure in section.figures):
        write_atomically(out / "plots" / f"{figure.name}.svg", svg.standalone(figure.drawing).encode())
    write_atomically(out / "page.json", json.dumps(page.to_json(), indent=1).encode())
    path = out / "report.html"
    write_atomically(path, render([page]).encode())
    return {"report": path}


def read_page(folder: Path) -> Page:
    """What `write_page` wrote there.

    Raises:
        DataError: there is no report, or it is damaged.
    """
    path = folder / "page.json"
    try:
        return Page.from_json(json.loads(path.read_bytes()))
    except OSError as error:
        raise DataError(f"{folder} holds no report ({error}). Run an experiment with --out {folder}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error!r}). Run the experiment that wrote it again.") from error


def render(pages: list[Page]) -> str:
    """One HTML document of one page or several."""
    environment = Environment(
        loader=PackageLoader("modular_manifolds.experiments.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("pages.html.j2").render(pages=pages)
