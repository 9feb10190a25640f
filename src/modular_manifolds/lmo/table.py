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
        self._entries: dict[tuple[type[Manifold], type[Norm]], list[tuple[Rule, dict[str, object]]]] = {}

    def register(self, manifold: type[Manifold], norm: type[Norm], **fields: object) -> Callable[[Rule], Rule]:
        """Decorator that enters a function for a pair, or only for manifolds whose fields have these values."""

        def enter(function: Rule) -> Rule:
            self._entries.setdefault((manifold, norm), []).insert(0, (function, fields))  # the latest goes first
            return function

        return enter

    def find(self, manifold: Manifold, norm: Norm) -> Rule | None:
        """The entry for a pair, or None."""
        for m in type(manifold).__mro__:
            for n in type(norm).__mro__:
                for rule, fields in self._entries.get((m, n), []):
                    if all(getattr(manifold, name) == value for name, value in fields.items()):
                        return rule
        return None

    def pairs(self) -> list[tuple[type[Manifold], type[Norm]]]:
        """Every pair that has an entry of its own."""
        return list(self._entries)

    def names(self) -> list[str]:
        """Every entry as it would be written down, e.g. "Oblique(axis='rows') x MaxRow"."""
        described = []
        for (m, n), rules in self._entries.items():
            for _, fields in rules:
                only = ", ".join(f"{name}={value!r}" for name, value in fields.items())
                described.append(f"{m.__name__}{only and f'({only})'} x {n.__name__}")
        return described


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
        known = ", ".join(directions.names())
        raise NoLMOError(f"no LMO for {manifold} x {norm}; choose one of {known}, or pass a solver")
    return direction
