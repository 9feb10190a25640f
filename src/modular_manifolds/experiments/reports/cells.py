"""How a table's columns are shown and sorted: numbers to four digits under each other, words to the left."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from modular_manifolds.experiments.reports.page import Cell, Table

_NUMBER_FIRST = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?=$|\s|%|×)")
"""Text such as `52.48 ± 0.31`, which belongs with numbers and is sorted by its first."""

_LONG = 48
"""Characters from which a text is broken into lines."""

_WIDEST_PADDING = 5
_FIGURE_SPACE, _PUNCTUATION_SPACE = "\u2007", "\u2008"


@dataclass(frozen=True)
class Column:
    """A heading; whether the column is sorted by number and aligned right; whether its cells may be broken."""

    heading: str
    numeric: bool
    long: bool


@dataclass(frozen=True)
class Shown:
    """A cell: its text, and the number it is sorted by in a numeric column. `missing` cells are sorted last."""

    text: str
    key: float | None
    missing: bool


@dataclass(frozen=True)
class ShownTable:
    """A table as the page has it, each row with whether it is highlighted."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[bool, tuple[Shown, ...]], ...]


def show(table: Table) -> ShownTable:
    """The table's cells as text, column by column."""
    columns, shown = [], []
    for j, heading in enumerate(table.columns):
        cells = [row[j] for row in table.rows]
        keys = [_key(cell) for cell in cells]
        given = sum(not _missing(cell) for cell in cells)
        numeric = 2 * sum(key is not None for key in keys) > given
        columns.append(Column(heading, numeric, any(isinstance(cell, str) and len(cell) >= _LONG for cell in cells)))
        shown.append(
            [
                Shown(text, key if numeric else None, _missing(cell))
                for text, key, cell in zip(_texts(cells), keys, cells, strict=True)
            ]
        )
    rows = zip(*shown, strict=True) if table.columns else ()
    return ShownTable(
        table.caption, tuple(columns), tuple((i in table.highlight, tuple(row)) for i, row in enumerate(rows))
    )


def number(value: float) -> str:
    """Four significant digits, whole numbers as they are, and a power of ten only where digits would be too many."""
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    rounded = float(f"{value:.4g}")
    return f"{rounded:,.0f}" if 1e4 <= abs(rounded) < 1e6 else f"{rounded:.4g}"


def _texts(cells: Sequence[Cell]) -> list[str]:
    """Numbers padded on the right, so that their points are under each other where figures are equally wide."""
    texts = [_text(cell) for cell in cells]
    numbers = [i for i, cell in enumerate(cells) if isinstance(cell, int | float) and not _missing(cell)]
    decimals = {i: len(texts[i].partition(".")[2]) for i in numbers}
    most = max(decimals.values(), default=0)
    if most > _WIDEST_PADDING or any("e" in texts[i] for i in numbers):
        return texts
    for i in numbers:
        point = _PUNCTUATION_SPACE if most and not decimals[i] else ""
        texts[i] += point + _FIGURE_SPACE * (most - decimals[i])
    return texts


def _text(cell: Cell) -> str:
    if _missing(cell):
        return "–"
    return number(cell) if isinstance(cell, int | float) else str(cell)


def _key(cell: Cell) -> float | None:
    if _missing(cell):
        return None
    if isinstance(cell, int | float):
        return float(cell)
    first = _NUMBER_FIRST.match(str(cell))
    return float(first[0].replace(",", "")) if first else None


def _missing(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, float) and not math.isfinite(cell))
