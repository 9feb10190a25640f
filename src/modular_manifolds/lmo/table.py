"""The table of (manifold, norm) pairs, filled by the modules beside this one."""

from collections.abc import Callable

from torch import Tensor

from modular_manifolds.manifolds import Manifold
from modular_manifolds.norms import Norm

Rule = Callable[..., Tensor]
"""A function for one pair, typed by the pair's own classes; the tables below say what they are called with."""


class NoLMOError(NotImplementedError):
    """No linear minimisation oracle is known for this pair of manifold and norm."""


class Table:
    """Functions by (manifold type, norm type); a pair finds the entry nearest to its types among their bases."""

    def __init__(self) -> None:
        self._entries: dict[tuple[type[Manifold], type[Norm]], Rule] = {}

    def register(self, manifold: type[Manifold], norm: type[Norm]) -> Callable[[Rule], Rule]:
        """Decorator that enters a function for a pair."""

        def enter(function: Rule) -> Rule:
            self._entries[manifold, norm] = function
            return function

        return enter

    def find(self, manifold: Manifold, norm: Norm) -> Rule | None:
        """The entry for a pair, or None."""
        for m in type(manifold).__mro__:
            for n in type(norm).__mro__:
                if (m, n) in self._entries:
                    return self._entries[m, n]
        return None

    def pairs(self) -> list[tuple[type[Manifold], type[Norm]]]:
        """Every pair that has an entry of its own."""
        return list(self._entries)


directions: Table = Table()
"""(manifold, norm, w, g, precision) -> the A that minimises <g, A> over tangent A at w with norm(A) <= 1."""

landings: Table = Table()
"""(manifold, norm, w, g, lr, precision) -> the weight after a step, where there is better than retract(w, lr A)."""

bounds: Table = Table()
"""(manifold, norm, w, g) -> an upper bound on -<g, A>, for pairs where norm.dual(to_tangent(w, g)) is not tight."""


def find_direction(manifold: Manifold, norm: Norm) -> Rule:
    """The LMO of a pair.

    Raises:
        NoLMOError: there is none; the message lists the pairs that have one.
    """
    direction = directions.find(manifold, norm)
    if direction is None:
        raise no_lmo(manifold, norm)
    return direction


def no_lmo(manifold: Manifold, norm: Norm) -> NoLMOError:
    """The error that names a pair without an LMO and lists those that have one."""
    known = ", ".join(f"{m.__name__} x {n.__name__}" for m, n in directions.pairs())
    return NoLMOError(f"no LMO for {manifold} x {norm}; choose one of {known}, or pass a solver")
