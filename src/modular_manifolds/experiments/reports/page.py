"""The parts of a report, as plain data: what is to be said, not how it looks."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from modular_manifolds.experiments.results import plain

Cell = str | float | int | None
"""Of a table: text, a number that columns are sorted by, or nothing. A number is shown to four digits."""


@dataclass(frozen=True)
class Table:
    """Rows under `columns`, each as long. `highlight` numbers the rows that the report is about."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    highlight: tuple[int, ...] = ()


@dataclass(frozen=True)
class Figure:
    """One <svg> element, as `svg.to_svg` makes it, and the numbers it was drawn from."""

    name: str
    """Unique on a page; the figure's file is plots/<name>.svg."""
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
    """A report. `headline` is one sentence that says what came out, for or against."""

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
