"""The table of (manifold, norm) pairs, filled by the modules beside this one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from modular_manifolds.manifolds import Manifold
from modular_manifolds.norms import Norm

Rule = Callable[..., Tensor]
"""A function for one pair, typed by the pair's own classes; the tables below say what they are called with."""

Kind = Literal["closed form", "root", "iterative"]
"""How a direction is found: by a formula, by a search in one variable, or by an iteration up to a certified gap."""


class NoLMOError(NotImplementedError):
    """No linear minimisation oracle is known for this pair of manifold and norm."""


@dataclass(frozen=True)
class Entry:
    """A rule and what it is good for.

    Args:
        rule: the function.
        only: it holds for manifolds whose fields have these values.
        kind, cost, source: of a direction, for `geometries()`.
        check: raises NoLMOError for those instances of the types that it does not hold for after all.
    """

    rule: Rule
    only: tuple[tuple[str, object], ...] = ()
    kind: Kind = "closed form"
    cost: str = ""
    source: str = ""
    check: Callable[..., object] = lambda manifold, norm: None

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.only)


class Table:
    """Functions by (manifold type, norm type); a pair finds the entry nearest to its types among their bases."""

    def __init__(self) -> None:
        self._entries: dict[tuple[type[Manifold], type[Norm]], list[Entry]] = {}

    def register(
        self,
        manifold: type[Manifold],
        norm: type[Norm],
        *,
        kind: Kind = "closed form",
        cost: str = "",
        source: str = "",
        check: Callable[..., object] = lambda manifold, norm: None,
        **only: object,
    ) -> Callable[[Rule], Rule]:
        """Decorator that enters a function for a pair, or only for manifolds whose fields have the values in `only`."""

        def enter(function: Rule) -> Rule:
            entry = Entry(function, tuple(only.items()), kind, cost, source, check)
            self._entries.setdefault((manifold, norm), []).insert(0, entry)  # the latest goes first
            return function

        return enter

    def find(self, manifold: Manifold, norm: Norm) -> Rule | None:
        """The rule for a pair, or None.

        Raises:
            NoLMOError: by the entry's own check.
        """
        for entry in self.entries(type(manifold), type(norm)):
            if all(getattr(manifold, name) == value for name, value in entry.only):
                entry.check(manifold, norm)
                return entry.rule
        return None

    def entries(self, manifold: type[Manifold], norm: type[Norm]) -> Iterator[Entry]:
        """Every entry for instances of these types, nearest first, up to the first that holds for all of them."""
        for m in manifold.__mro__:
            for n in norm.__mro__:
                for entry in self._entries.get((m, n), []):
                    yield entry
                    if not entry.only:
                        return

    def pairs(self) -> list[tuple[type[Manifold], type[Norm]]]:
        """Every pair that has an entry of its own."""
        return list(self._entries)

    def names(self) -> list[str]:
        """Every entry as it would be written down, e.g. "Oblique(axis='rows') x MaxRow"."""
        return [
            f"{m.__name__}{(entry.only and f'({entry})') or ''} x {n.__name__}"
            for (m, n), entries in self._entries.items()
            for entry in entries
        ]


directions: Table = Table()
"""(manifold, norm, w, g, precision) -> the A that minimises <g, A> over tangent A at w with norm(A) <= 1."""

landings: Table = Table()
"""(manifold, norm, w, g, lr, precision) -> the weight after a step, where there is better than retract(w, lr A).

g may be overwritten, and the weight may be put where it was."""

bounds: Table = Table()
"""(manifold, norm, w, g) -> an upper bound on -<g, A>, for pairs where that of the tangent part of g is not tight."""


def find_direction(manifold: Manifold, norm: Norm) -> Rule:
    """The LMO of a pair.

    Raises:
        NoLMOError: there is none; the message lists the pairs that have one.
    """
    direction = directions.find(manifold, norm)
    if direction is None:
        known = ", ".join(directions.names())
        raise NoLMOError(
            f"no LMO for {manifold} x {norm}; choose one of {known}, or pass a solver, such as Splitting(), which "
            "iterates on any pair whose manifold has the Frobenius metric"
        )
    return direction


def land(manifold: Manifold, norm: Norm, w: Tensor, g: Tensor, lr: float | Tensor, precision: str) -> Tensor:
    """The weight after a step of length `lr` along the pair's direction. Uses up g."""
    landing = landings.find(manifold, norm)
    if landing is not None:
        return landing(manifold, norm, w, g, lr, precision)
    return manifold.retract(w, find_direction(manifold, norm)(manifold, norm, w, g, precision) * lr)


def upper_bound(manifold: Manifold, norm: Norm, w: Tensor, g: Tensor) -> Tensor:
    """No tangent A with norm(A) <= 1 has a larger -<g, A>: the pair's own bound, or the tangent part's dual norm."""
    bound = bounds.find(manifold, norm)
    if bound is not None:
        return bound(manifold, norm, w, g)
    return norm.dual(manifold.unwhiten(w, manifold.to_tangent(w, -g)))
