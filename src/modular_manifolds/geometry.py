"""A geometry: the manifold a weight lives on, and the norm that says how long an update to it is."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import (
    Precision,
    check_precision,
    largest_entry,
    length,
    recorded,
    rounding,
    working_dtype,
)
from modular_manifolds.lmo import Rule, Solver, find_direction, land, upper_bound
from modular_manifolds.manifolds import Euclidean, Manifold, Oblique
from modular_manifolds.norms import MaxColumn, MaxEntry, MaxRow, Norm
from modular_manifolds.plain_data import describe, rebuild


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
        precision: of the matrix functions in the direction: "exact" comes within 1e-4 of steepest descent in float32,
            "balanced" within 1e-2, "fast" within 5e-2; see `modular_manifolds.linalg.msign` for what accelerators do.
            Directions that need no such function are exact either way, and every landing is in float32 or float64.
        kernel_axes: of a convolution's weight (out, in, *kernel), how many axes the kernel has: the matrices are then
            its taps, (out, in) each. Optimizers and `project_` look at the weight that way; `lmo`, `step` and
            `certificate` take the taps as a batch, see `modular_manifolds.projection.as_matrix`.

    Raises:
        NoLMOError: the table has no direction for this pair, and no solver is given.
        TypeError: the solver does not apply to this pair.
    """

    manifold: Manifold
    norm: Norm
    solver: Solver | None = None
    precision: Precision = "exact"
    kernel_axes: int = 0

    def __post_init__(self) -> None:
        check_precision(self.precision)
        if self.kernel_axes < 0:
            raise ValueError(f"kernel_axes must not be negative, got {self.kernel_axes}")
        if self.solver is None:
            find_direction(self.manifold, self.norm)
        else:
            self.solver.check_pair(self.manifold, self.norm)

    @property
    def remembers(self) -> bool:
        """Whether the direction is found by an iteration that does well to start where it ended the last time."""
        return getattr(self.solver or find_direction(self.manifold, self.norm), "remembers", False)

    @property
    def separable(self) -> frozenset[int]:
        """Axes along which matrices fall into pieces that are stepped each by itself: -2 between rows, -1 columns."""
        if self.solver is not None:
            return frozenset()
        match self.manifold, self.norm:
            case (Oblique(axis="rows"), MaxRow()) | (Euclidean(), MaxRow()):
                return frozenset({-2})
            case (Oblique(axis="columns"), MaxColumn()) | (Euclidean(), MaxColumn()):
                return frozenset({-1})
            case (Euclidean(), MaxEntry()):
                return frozenset({-2, -1})
        return frozenset()

    def lmo(
        self, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], memory: Float[Tensor, "*b m n"] | None = None
    ) -> Float[Tensor, "*b m n"]:
        """The A that minimises <g, A> over tangent vectors at w with norm(A) <= 1; the update is w + lr * A.

        Args:
            w: weights.
            g: gradients there.
            memory: for a geometry that `remembers`: where the last call ended, zeros at first; overwritten.

        Raises:
            TypeError: w or g is not a real floating-point tensor.
            ValueError: w is no matrix, or g has another shape.
        """
        _check(w, g)
        return self._direction(*self._prepare(w, g), memory).to(w.dtype)

    def step(
        self,
        w: Float[Tensor, "*b m n"],
        g: Float[Tensor, "*b m n"],
        lr: float | Tensor,
        memory: Float[Tensor, "*b m n"] | None = None,
        *,
        scratch: bool = False,
    ) -> Float[Tensor, "*b m n"]:
        """The next weight: as far as `lr` along the steepest descent direction, and back on the manifold.

        Args:
            w: weights.
            g: gradients there.
            lr: length of the step in the norm.
            memory: as for `lmo`.
            scratch: g may be overwritten, and the result may lie where it was.

        Raises:
            TypeError, ValueError: as for `lmo`.
        """
        _check(w, g)
        w_, g_ = self._prepare(w, g, scratch)
        if self.solver is None and memory is None:
            return land(self.manifold, self.norm, w_, g_, lr, self.precision).to(w.dtype)
        return self.manifold.retract(w_, self._direction(w_, g_, memory) * lr).to(w.dtype)

    def _direction(self, w: Tensor, g: Tensor, memory: Tensor | None) -> Tensor:
        direction: Rule = self.solver or find_direction(self.manifold, self.norm)
        if memory is None:
            return direction(self.manifold, self.norm, w, g, self.precision)
        if not self.remembers:
            raise ValueError(f"{self.manifold} x {self.norm} has nothing to remember; leave out `memory`")
        return direction(self.manifold, self.norm, w, g, self.precision, memory)

    def _prepare(self, w: Tensor, g: Tensor, scratch: bool = False) -> tuple[Tensor, Tensor]:
        """Both in the dtype to compute in, and g scaled to a largest entry of 1, as no direction depends on its size.

        Except that of a solver, which is told the truth: the published ones do depend on it.
        """
        dtype = working_dtype(w.dtype)
        g = g.to(dtype)
        if self.solver:
            return w.to(dtype), g
        scale = largest_entry(g)
        return w.to(dtype), g.div_(scale) if scratch and not recorded(g) else g / scale

    def certificate(
        self, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], a: Float[Tensor, "*b m n"]
    ) -> Certificate:
        """How good the direction `a` is, in float64 and independently of how it was found.

        The upper bound is by weak duality, norm.dual(g + any normal vector). It is tight for pairs with a closed form;
        for the others it is the best that was found, in float64 and with more effort than the direction.

        Raises:
            TypeError, ValueError: as for `lmo`.
        """
        _check(w, g)
        _check(w, a)
        resolution = 4 * max(rounding(x.shape, working_dtype(x.dtype)) for x in (w, g))
        w, g, a = w.double(), g.double(), a.double()
        scale = largest_entry(g)
        g = g / scale
        upper = upper_bound(self.manifold, self.norm, w, g)
        value = -(g * a).sum((-2, -1))
        resolved = upper > resolution * self.norm.dual(self.manifold.unwhiten(w, g))
        gap = ((upper - value) / upper).where(resolved, 0.0)
        size = length(a)
        tangency = length(a - self.manifold.to_tangent(w, a)) / size.masked_fill(size == 0, 1.0)
        scale = scale[..., 0, 0]
        norm = self.norm(self.manifold.whiten(w, a))
        return Certificate(value * scale, upper * scale, gap, tangency[..., 0, 0], norm)

    def to_dict(self) -> dict[str, Any]:
        """Plain data (strings, numbers, dicts, lists) from which `from_dict` rebuilds the geometry."""
        return {
            "manifold": describe(self.manifold),
            "norm": describe(self.norm),
            "solver": None if self.solver is None else describe(self.solver),
            "precision": self.precision,
            "kernel_axes": self.kernel_axes,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Geometry":
        """The geometry that `to_dict` described.

        Raises:
            ValueError: a type in the description is not defined in this process (import its module first).
        """
        solver = data["solver"]
        return cls(
            rebuild(Manifold, data["manifold"]),
            rebuild(Norm, data["norm"]),
            None if solver is None else rebuild(Solver, solver),
            data["precision"],
            data.get("kernel_axes", 0),
        )


def _check(w: Tensor, g: Tensor) -> None:
    if w.ndim < 2:
        raise ValueError(f"a weight must be a matrix or a batch of them, got shape {tuple(w.shape)}")
    if w.shape != g.shape:
        raise ValueError(f"weight and gradient must have one shape, got {tuple(w.shape)} and {tuple(g.shape)}")
    working_dtype(g.dtype)
