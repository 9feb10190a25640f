"""Pages as one HTML document that fetches nothing: style, script and figures are in it."""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from modular_manifolds.experiments.reports import drawings
from modular_manifolds.experiments.reports.cells import show
from modular_manifolds.experiments.reports.page import Figure, Page


@dataclass(frozen=True)
class _Placed:
    """A page in a document: `anchor` is its own id, and `prefix` goes before those of its figures."""

    page: Page
    anchor: str
    prefix: str


def render(pages: Sequence[Page]) -> str:
    """One document. Ids of figures are their names; of several pages, after the anchor of the page."""
    environment = Environment(
        loader=PackageLoader("modular_manifolds.experiments.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(show=show, drawing=_drawing, drawings=drawings, in_rows=_in_rows)
    environment.filters["tied"] = _tied
    style, script = _source("page.css"), _source("sort.js")
    return environment.get_template("pages.html.j2").render(
        placed=_place(pages), style=style, script=script, script_hash=_hash(script)
    )


def identifier(name: str) -> str:
    """`name` as a part of an id, and of a file's name."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-")


def _place(pages: Sequence[Page]) -> list[_Placed]:
    if len(pages) == 1:
        return [_Placed(pages[0], "report", "")]
    placed, seen = [], Counter[str]()
    for page in pages:
        seen[page.recipe] += 1
        anchor = identifier(page.recipe) + (f"-{seen[page.recipe]}" if seen[page.recipe] > 1 else "")
        placed.append(_Placed(page, anchor, f"{anchor}-"))
    return placed


def _drawing(figure: Figure, prefix: str) -> Markup:
    """Its ids are nobody else's, even where two pages have figures of one name."""
    return Markup(drawings.with_own_ids(figure.drawing, f"{prefix}{figure.name}--"))


def _tied(text: str) -> str:
    """No line begins with a sign or a unit that belongs to the number before it."""
    return re.sub(r" (?=[%±]|[\d.,]+×)|(?<=±) ", "\u00a0", text)


def _in_rows(figures: Sequence[Figure]) -> list[tuple[bool, list[Figure]]]:
    """Figures beside each other that are narrow, and that are not."""
    return [(narrow, list(group)) for narrow, group in groupby(figures, key=lambda figure: figure.narrow)]


def _source(name: str) -> Markup:
    return Markup(files(__package__).joinpath("templates", name).read_text(encoding="utf-8"))


def _hash(script: str) -> str:
    """By which a page's policy knows its own script."""
    return f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}"
