"""A geometry: the manifold a weight lives on, and the norm that says how long an update to it is."""

from dataclasses import dataclass, fields, is_dataclass
from inspect import isabstract
from typing import Any, NamedTuple, TypeVar

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import Precision, check_precision, largest_entry, length, rounding, working_dtype
from modular_manifolds.lmo import Solver, bounds, find_direction, landings
from modular_manifolds.manifolds import Manifold
from modular_manifolds.norms import Norm


class Certificate(NamedTuple):
    """How good a direction A is, as measured from W, G and A alone. Every field has the batch shape."""

    value: Float[Tensor, "*b"]
    """Attained decrease -<G, A>."""
    upper_bound: Float[Tensor, "*b"]
    """No tangent A with norm(A) <= 1 attains more."""
    gap: Float[Tensor, "*b"]
    """(upper_bound - value) / upper_bound; 0 where the bound is within the rounding error of G."""
    tangency: Float[Tensor, "*b"]
    """Length of what A sticks out of the tangent space, over the length of A, both in the Frobenius norm."""
    norm: Float[Tensor, "*b"]
    """norm(A), at most 1 up to rounding."""


@dataclass(frozen=True)
class Geometry:
    """A manifold and a norm, with the steepest descent step that they define.

    Args:
        manifold: where the weight lives.
        norm: how long an update is.
        solver: another algorithm for the direction than the table's own.
        precision: of the matrix functions in the direction; see `modular_manifolds.linalg.Precision`. Directions that
            need none are exact either way, and every landing is in float32 or float64.

    Raises:
        NoLMOError: the table has no direction for this pair, and no solver is given.
        TypeError: the solver does not apply to this pair.
    """

    manifold: Manifold
    norm: Norm
    solver: Solver | None = None
    precision: Precision = "exact"

    def __post_init__(self) -> None:
        check_precision(self.precision)
        if self.solver is None:
            find_direction(self.manifold, self.norm)
        else:
            self.solver.check_pair(self.manifold, self.norm)

    def lmo(self, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
        """The A that minimises <g, A> over tangent vectors at w with norm(A) <= 1; the update is w + lr * A.

        Raises:
            TypeError: w or g is not a real floating-point tensor.
            ValueError: w is no matrix, or g has another shape.
        """
        _check(w, g)
        return self._direction(*self._prepare(w, g)).to(w.dtype)

    def step(
        self, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], lr: float | Tensor
    ) -> Float[Tensor, "*b m n"]:
        """The next weight: as far as `lr` along the steepest descent direction, and back on the manifold.

        Raises:
            TypeError, ValueError: as for `lmo`.
        """
        _check(w, g)
        w_, g_ = self._prepare(w, g)
        landing = landings.find(self.manifold, self.norm) if self.solver is None else None
        if landing is not None:
            return landing(self.manifold, self.norm, w_, g_, lr, self.precision).to(w.dtype)
        return self.manifold.retract(w_, self._direction(w_, g_) * lr).to(w.dtype)

    def _direction(self, w: Tensor, g: Tensor) -> Tensor:
        direction = self.solver or find_direction(self.manifold, self.norm)
        return direction(self.manifold, self.norm, w, g, self.precision)

    def _prepare(self, w: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Both in the dtype to compute in, and g scaled to a largest entry of 1, as no direction depends on its size.

        Except that of a solver, which is told the truth: the published ones do depend on it.
        """
        dtype = working_dtype(w.dtype)
        g = g.to(dtype)
        return w.to(dtype), g if self.solver else g / largest_entry(g)

    def certificate(
        self, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], a: Float[Tensor, "*b m n"]
    ) -> Certificate:
        """How good the direction `a` is, in float64 and independently of how it was found.

        The upper bound is by weak duality: norm.dual(g + any normal vector); for pairs in the table it is tight.

        Raises:
            TypeError, ValueError: as for `lmo`.
        """
        _check(w, g)
        _check(w, a)
        resolution = 4 * max(rounding(x.shape, working_dtype(x.dtype)) for x in (w, g))
        w, g, a = w.double(), g.double(), a.double()
        scale = largest_entry(g)
        g = g / scale
        bound = bounds.find(self.manifold, self.norm)
        upper = bound(self.manifold, self.norm, w, g) if bound else self.norm.dual(self.manifold.to_tangent(w, g))
        value = -(g * a).sum((-2, -1))
        resolved = upper > resolution * self.norm.dual(g)
        gap = ((upper - value) / upper).where(resolved, 0.0)
        size = length(a)
        tangency = length(a - self.manifold.to_tangent(w, a)) / size.masked_fill(size == 0, 1.0)
        scale = scale[..., 0, 0]
        return Certificate(value * scale, upper * scale, gap, tangency[..., 0, 0], self.norm(a))

    def to_dict(self) -> dict[str, Any]:
        """Plain data (strings, numbers, dicts) from which `from_dict` rebuilds the geometry."""
        return {
            "manifold": _describe(self.manifold),
            "norm": _describe(self.norm),
            "solver": None if self.solver is None else _describe(self.solver),
            "precision": self.precision,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Geometry":
        """The geometry that `to_dict` described.

        Raises:
            ValueError: a type in the description is not defined in this process (import its module first).
        """
        solver = data["solver"]
        return cls(
            _rebuild(Manifold, data["manifold"]),
            _rebuild(Norm, data["norm"]),
            None if solver is None else _rebuild(Solver, solver),
            data["precision"],
        )


T = TypeVar("T")


def _describe(part: object) -> dict[str, Any]:
    """A frozen dataclass as its type's name and its fields."""
    assert is_dataclass(part)
    values = {f.name: getattr(part, f.name) for f in fields(part)}
    # a NumPy float is a float too, but no plain data
    return {"type": type(part).__name__} | {k: float(v) if isinstance(v, float) else v for k, v in values.items()}


def _rebuild(base: type[T], data: dict[str, Any]) -> T:
    known = [kind for kind in _subclasses(base) if not isabstract(kind)]
    found = [kind for kind in known if kind.__name__ == data["type"]]
    if len(found) != 1:
        names = ", ".join(sorted(kind.__name__ for kind in known))
        raise ValueError(f"{len(found)} types of {base.__name__} are called {data['type']!r}; known are {names}")
    return found[0](**{name: value for name, value in data.items() if name != "type"})


def _subclasses(base: type[T]) -> list[type[T]]:
    return [kind for child in base.__subclasses__() for kind in (child, *_subclasses(child))]


def _check(w: Tensor, g: Tensor) -> None:
    if w.ndim < 2:
        raise ValueError(f"a weight must be a matrix or a batch of them, got shape {tuple(w.shape)}")
    if w.shape != g.shape:
        raise ValueError(f"weight and gradient must have one shape, got {tuple(w.shape)} and {tuple(g.shape)}")
    working_dtype(g.dtype)
