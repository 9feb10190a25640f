"""The table of pairs in docs/choosing.md, from `mm.geometries()`: `python -m website.pairs` writes it anew."""

from itertools import groupby
from operator import itemgetter
from pathlib import Path

import modular_manifolds as mm
from modular_manifolds.lmo.catalogue import Row

PAGE = Path(__file__).parents[1] / "docs" / "choosing.md"
START, END = "<!-- pairs: python -m website.pairs -->\n", "<!-- end of pairs -->\n"


def table() -> str:
    """A row for each manifold and way to find the direction, with all norms that share it."""

    rows = sorted(
        (_name(row), row.kind, row.cost, row.source, row.norm.__name__)
        for row in mm.geometries()
        if _ours(row.manifold) and _ours(row.norm)
    )
    lines = ["| manifold | norms | direction | cost | source |", "|---|---|---|---|---|"]
    for (name, kind, cost, source), group in groupby(rows, itemgetter(0, 1, 2, 3)):
        norms = ", ".join(f"`{norm}`" for *_, norm in group)
        lines.append(f"| {name} | {norms} | {kind} | {cost} | {source} |")
    return "\n".join(lines) + "\n"


def _name(row: Row) -> str:
    return f"`{row.manifold.__name__}`" + (row.only and f" with {row.only}")


def _ours(kind: type) -> bool:
    return kind.__module__.startswith("modular_manifolds.")  # and none that a test has defined


def with_table(page: str) -> str:
    """The page with what stands between its two marks replaced."""
    before, rest = page.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
