"""The parts of a report, as plain data: what is to be said, not how it looks."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from modular_manifolds.experiments.results import plain

Cell = str | float | int | None
"""Of a table: text, a number, or nothing, as which a number that is not finite counts.

Numbers are shown to four digits; a column of them, or of texts such as `52.5 ± 0.3`, is sorted by number.
"""


@dataclass(frozen=True)
class Table:
    """Rows under `columns`, each as long. `highlight` numbers the rows that the report is about.

    Raises:
        ValueError: a row is longer or shorter.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    highlight: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells, expected {len(self.columns)}, one a column: {row!r}")


@dataclass(frozen=True)
class Figure:
    """One <svg> element, as `svg.to_svg` makes it, and the numbers it was drawn from."""

    name: str
    """Unique on a page: letters, digits and any of `_.-`. The figure's file is plots/<name>.svg."""
    title: str
    caption: str
    drawing: str
    data: Table | None = None
    narrow: bool = False
    """Whether three fit beside each other, not two."""


@dataclass(frozen=True)
class Section:
    """Paragraphs, then tables, then figures, under a heading."""

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    preformatted: tuple[tuple[str, str], ...] = ()
    """Titles and texts shown as they are, such as samples of a language model."""
    folded: bool = False
    """Whether the reader has to open it."""


@dataclass(frozen=True)
class Finding:
    """A number to show large, and what it is."""

    value: str
    label: str


@dataclass(frozen=True)
class Page:
    """A report. `headline` is one sentence that says what came out, for or against.

    Raises:
        ValueError: two figures have one name, or a name is unfit for a file.
    """

    recipe: str
    """Name of the command."""
    subject: str
    """What it was run on, in a few words."""
    headline: str
    sections: tuple[Section, ...]
    settings: tuple[tuple[str, str], ...]
    """Names and values."""
    command: str
    """The command line that repeats it."""
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        names = [figure.name for figure in self.figures]
        if unfit := [name for name in names if not re.fullmatch(r"\w[\w.-]*", name)]:
            raise ValueError(f"a figure is called {unfit[0]!r}; a name has letters, digits and any of _.- alone")
        if len(set(names)) < len(names):
            raise ValueError(f"figures of one page must differ in their names, but these are {', '.join(names)}")

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Of all sections."""
        return tuple(figure for section in self.sections for figure in section.figures)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values only."""
        data: dict[str, Any] = plain(asdict(self))
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Page":
        """The inverse of `to_json`."""
        return cls(
            **{
                **data,
                "sections": tuple(map(_section, data["sections"])),
                "settings": _pairs(data["settings"]),
                "findings": tuple(Finding(**finding) for finding in data["findings"]),
            }
        )


def _section(data: Mapping[str, Any]) -> Section:
    return Section(
        **{
            **data,
            "text": tuple(data["text"]),
            "tables": tuple(map(_table, data["tables"])),
            "figures": tuple(map(_figure, data["figures"])),
            "preformatted": _pairs(data["preformatted"]),
        }
    )


def _figure(data: Mapping[str, Any]) -> Figure:
    return Figure(**{**data, "data": None if data["data"] is None else _table(data["data"])})


def _table(data: Mapping[str, Any]) -> Table:
    rows = tuple(tuple(row) for row in data["rows"])
    return Table(tuple(data["columns"]), rows, data["caption"], tuple(data["highlight"]))


def _pairs(data: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((first, second) for first, second in data)
