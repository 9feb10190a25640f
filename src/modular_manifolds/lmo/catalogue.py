"""The table of directions as rows to be read."""

from dataclasses import dataclass
from inspect import isabstract
from typing import TypeVar

from modular_manifolds.lmo.table import Kind, directions
from modular_manifolds.manifolds import Manifold
from modular_manifolds.norms import Norm
from modular_manifolds.text_table import align

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One pair that has a direction.

    Args:
        manifold, norm: the types.
        kind: "closed form", "root" (a search in one variable) or "iterative" (up to a certified gap of 1e-3).
        cost: what a direction takes, beside a few matrix products.
        source: where it is from, or why it holds.
        only: the values of the manifold's fields that it is restricted to, if any, e.g. "axis='rows'".
    """

    manifold: type[Manifold]
    norm: type[Norm]
    kind: Kind
    cost: str
    source: str
    only: str = ""

    def __str__(self) -> str:
        return f"{self._name} x {self.norm.__name__}: {self.kind}, {self.cost}"

    @property
    def _name(self) -> str:
        return self.manifold.__name__ + (self.only and f"({self.only})")


class Rows(tuple[Row, ...]):
    """Rows that print as one table."""

    def __str__(self) -> str:
        cells = [("manifold", "norm", "kind", "cost", "source")]
        cells += [(row._name, row.norm.__name__, row.kind, row.cost, row.source) for row in self]
        rules = tuple("-" * max(map(len, column)) for column in zip(*cells, strict=True))
        return "\n".join(align([cells[0], rules, *cells[1:]]))

    __repr__ = __str__


def geometries() -> Rows:
    """Every pair of manifold and norm types with a direction of its own, with its kind, cost and source.

    Any other pair whose manifold has the Frobenius metric can be had by `Geometry(..., solver=Splitting())`. Types of
    your own are listed as soon as they are defined and registered.
    """
    return Rows(
        Row(manifold, norm, entry.kind, entry.cost, entry.source, str(entry))
        for manifold in _concrete(Manifold)
        for norm in _concrete(Norm)
        for entry in directions.entries(manifold, norm)
    )


def _concrete(base: type[T]) -> list[type[T]]:
    found = [kind for child in base.__subclasses__() for kind in (child, *_concrete(child))]
    return sorted({kind for kind in found if not isabstract(kind)}, key=lambda kind: kind.__name__)
